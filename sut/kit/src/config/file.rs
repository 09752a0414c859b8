//! The state file: `{"version": N, "config": {..}}`, or without `config` after a reset.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{ConfigError, STATE_FILE, ServiceConfig, document};

/// A state file of more than this is not one of ours.
const MAX_BYTES: u64 = 1024 * 1024;

/// The last version a JSON number can hold exactly in every reader.
pub(super) const MAX_VERSION: u64 = (1 << 53) - 1;

/// The steps of an atomic write, so that tests can let each of them fail.
pub(super) trait Disk: Send + Sync + 'static {
    /// Makes a new file with this content, on the disk when it returns.
    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()>;
    /// Puts a file in another's place, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Puts a directory's entries on the disk.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// The real file system.
pub(super) struct FileSystem;

impl Disk for FileSystem {
    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(path)?;
        file.write_all(content)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// What a state file says.
pub(super) struct State<C> {
    pub(super) version: u64,
    /// `None` after a reset: the site file or the defaults apply, the version goes on.
    pub(super) config: Option<C>,
}

/// The state directory, held by this process alone.
pub(super) struct StateFile {
    directory: PathBuf,
    path: PathBuf,
    temporary: PathBuf,
    disk: Box<dyn Disk>,
    /// The lock goes with the descriptor, so a crash leaves none behind.
    _lock: File,
}

impl StateFile {
    /// Takes the state directory, made if need be, and removes what a crash in the middle of a write left there.
    pub(super) fn open(directory: &Path, disk: Box<dyn Disk>) -> Result<Self, ConfigError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| ConfigError::Unreadable { path, source }
        };
        std::fs::create_dir_all(directory).map_err(unreadable(directory))?;
        let lock = File::open(directory).map_err(unreadable(directory))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ConfigError::InUse {
                    path: directory.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(unreadable(directory)(source)),
        }
        let path = directory.join(STATE_FILE);
        let temporary = directory.join(format!("{STATE_FILE}.tmp"));
        let file = Self {
            directory: directory.to_owned(),
            path,
            temporary,
            disk,
            _lock: lock,
        };
        file.remove_temporary()
            .map_err(unreadable(&file.temporary))?;
        Ok(file)
    }

    /// Reads the state file; `None` when there is none.
    pub(super) fn read<C: ServiceConfig>(&self) -> Result<Option<State<C>>, ConfigError> {
        let repair = || {
            let unit = own_unit();
            format!(
                "repair the file, or drop it with `observastack-ctl config reset {unit} --offline`"
            )
        };
        let Some(value) = read_json(&self.path, &repair)? else {
            return Ok(None);
        };
        let corrupt = |place: &str, reason: &str| ConfigError::Corrupt {
            path: self.path.clone(),
            place: place.to_owned(),
            reason: reason.to_owned(),
            repair: repair(),
        };
        let Value::Object(members) = value else {
            return Err(corrupt(
                "line 1",
                "expected an object with \"version\" and \"config\"",
            ));
        };
        if let Some(name) = members
            .keys()
            .find(|name| !matches!(name.as_str(), "version" | "config"))
        {
            return Err(corrupt(
                &format!("field {name}"),
                "no field of this name; known: version, config",
            ));
        }
        let version = members
            .get("version")
            .and_then(Value::as_u64)
            .filter(|version| (1..=MAX_VERSION).contains(version))
            .ok_or_else(|| {
                corrupt(
                    "field version",
                    &format!("expected a whole number from 1 to {MAX_VERSION}"),
                )
            })?;
        let config = match members.get("config") {
            None => None,
            Some(config) => Some(document::parse(config).map_err(|mut fields| {
                for field in &mut fields {
                    field.field.insert_str(0, "config.");
                }
                ConfigError::InvalidFile {
                    path: self.path.clone(),
                    fields,
                    repair: repair(),
                }
            })?),
        };
        Ok(Some(State { version, config }))
    }

    /// Replaces the state file atomically: whatever happens, it is the old one or the new one.
    pub(super) fn write<C: ServiceConfig>(
        &self,
        version: u64,
        config: Option<&C>,
    ) -> Result<(), ConfigError> {
        let content = match config {
            Some(config) => json!({ "version": version, "config": config }),
            None => json!({ "version": version }),
        };
        let mut content = format!("{content:#}");
        content.push('\n');
        let written = self
            .remove_temporary()
            .and_then(|()| self.disk.write_new(&self.temporary, content.as_bytes()))
            .map_err(|error| ConfigError::writing(self.temporary.clone(), "write", error))
            .and_then(|()| {
                let renamed = self.disk.rename(&self.temporary, &self.path);
                renamed.map_err(|error| ConfigError::writing(self.path.clone(), "replace", error))
            });
        if let Err(error) = written {
            // Gives the space back. If this fails too, the next write or start removes it.
            let _ = self.remove_temporary();
            return Err(error);
        }
        // The new file is in its place already: taking it back could fail as well, so it counts as written.
        if let Err(error) = self.disk.sync_directory(&self.directory) {
            let path = self.path.display().to_string();
            tracing::error!(path, %error, "the new configuration is in effect, but may not survive a power cut");
        }
        Ok(())
    }

    fn remove_temporary(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Reads the administrator's file; `None` when there is none.
pub(super) fn read_site<C: ServiceConfig>(path: &Path) -> Result<Option<C>, ConfigError> {
    let repair = || "repair the file, or remove it to run with the built-in defaults".to_owned();
    let Some(value) = read_json(path, &repair)? else {
        return Ok(None);
    };
    let config = document::parse(&value);
    config.map(Some).map_err(|fields| ConfigError::InvalidFile {
        path: path.to_owned(),
        fields,
        repair: repair(),
    })
}

fn read_json(path: &Path, repair: &dyn Fn() -> String) -> Result<Option<Value>, ConfigError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ConfigError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    }
    let corrupt = |place: String, reason: String| ConfigError::Corrupt {
        path: path.to_owned(),
        place,
        reason,
        repair: repair(),
    };
    if content.len() as u64 > MAX_BYTES {
        return Err(corrupt(
            format!("byte {MAX_BYTES}"),
            "a configuration is never this long".to_owned(),
        ));
    }
    serde_json::from_slice(&content).map(Some).map_err(|error| {
        let message = error.to_string();
        let reason = message
            .rsplit_once(" at line")
            .map_or(message.as_str(), |(reason, _)| reason);
        corrupt(
            format!("line {} column {}", error.line(), error.column()),
            reason.to_owned(),
        )
    })
}

/// The systemd unit this process runs in, for messages; `UNIT` when it is none.
fn own_unit() -> String {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unit = cgroup.lines().find_map(|line| {
        line.rsplit('/')
            .next()
            .filter(|name| name.ends_with(".service"))
    });
    unit.unwrap_or("UNIT").to_owned()
}
