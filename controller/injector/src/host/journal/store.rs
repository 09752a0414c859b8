//! The journal's files: written whole or not at all, and one writer at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{fs::FlockOperation, io::Errno};
use tracing::warn;

use super::{Entry, JournalError};

/// The file whose lock a writer holds.
const LOCK: &str = ".lock";
/// How often a held lock is tried.
const RETRY: Duration = Duration::from_millis(5);

/// The directory of the journal.
#[derive(Clone, Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

/// The right to write; given back when dropped, or when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Store {
    pub(super) fn open(directory: &Path) -> Result<Self, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| JournalError::Io {
                path: directory.to_owned(),
                source,
            })?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    pub(super) fn lock(&self, patience: Duration) -> Result<Lock, JournalError> {
        let path = self.directory.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(self.io(&path))?;
        let end = Instant::now() + patience;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => {
                    thread::sleep(RETRY);
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    return Err(JournalError::Busy {
                        path: self.directory.clone(),
                        patience,
                    });
                }
                Err(error) => return Err(self.io(&path)(error.into())),
            }
        }
    }

    pub(super) fn has(&self, id: u64) -> bool {
        self.path(id).exists()
    }

    /// Ids of every entry, ascending.
    pub(super) fn ids(&self) -> Result<Vec<u64>, JournalError> {
        let files = fs::read_dir(&self.directory).map_err(self.io(&self.directory))?;
        let mut ids: Vec<u64> = files
            .flatten()
            .filter_map(|file| {
                file.file_name()
                    .to_str()?
                    .strip_suffix(".json")?
                    .parse()
                    .ok()
            })
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }

    pub(super) fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::new();
        for id in self.ids()? {
            entries.extend(self.read(id)?);
        }
        Ok(entries)
    }

    /// One entry; `None` where it is gone, or corrupt, which moves the file aside.
    pub(super) fn read(&self, id: u64) -> Result<Option<Entry>, JournalError> {
        let path = self.path(id);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(&path)(error)),
        };
        match serde_json::from_slice::<Entry>(&text) {
            Ok(entry) if entry.id == id => Ok(Some(entry)),
            result => {
                let aside = path.with_extension("json.corrupt");
                warn!(
                    fault = id,
                    error = result.err().map_or_else(|| "the id is another one".to_owned(), |error| error.to_string()),
                    kept = %aside.display(),
                    "an entry of the journal of changes is corrupt: what it changed has to be undone by hand"
                );
                fs::rename(&path, &aside).map_err(self.io(&path))?;
                Ok(None)
            }
        }
    }

    /// Replaces or adds an entry: on the disk before this returns.
    pub(super) fn write(&self, _lock: &Lock, entry: &Entry) -> Result<(), JournalError> {
        let path = self.path(entry.id);
        let new = path.with_extension("new");
        let written = serde_json::to_vec_pretty(entry)
            .map_err(io::Error::from)
            .and_then(|text| {
                let mut file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&new)?;
                file.write_all(&text)?;
                file.sync_all()?;
                fs::rename(&new, &path)
            });
        written.map_err(self.io(&path))?;
        self.sync()
    }

    pub(super) fn remove(&self, _lock: &Lock, id: u64) -> Result<(), JournalError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io(&path)(error)),
            _ => self.sync(),
        }
    }

    /// Makes names that were added and removed last.
    fn sync(&self) -> Result<(), JournalError> {
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(self.io(&self.directory))
    }

    fn path(&self, id: u64) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn io(&self, path: &Path) -> impl Fn(io::Error) -> JournalError + use<> {
        let path = path.to_owned();
        move |source| JournalError::Io {
            path: path.clone(),
            source,
        }
    }
}
