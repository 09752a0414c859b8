//! A file system is filled up by one file.
//!
//! Undone by removing the file: it survives a reboot, and is removed after one too. Where this process may not write to the
//! volume (it is the database's, and the injector's unit is sandboxed), systemd runs `fallocate` and `rm` in a unit of its own.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{fs::FallocateFlags, io::Errno};
use serde::{Deserialize, Serialize};

use crate::host::{change::ChangeError, command};

/// What the file's name begins with; nothing else is ever removed.
const PREFIX: &str = ".observastack-disk-fill-";
/// How many times the free space is measured anew: what the file system needs for itself comes out of it too.
const ROUNDS: usize = 64;
/// What is written at once where the file system cannot allocate.
static CHUNK: [u8; 256 * 1024] = [0; 256 * 1024];
/// A remainder that no program is started for.
const SMALLEST: u64 = 64 * 1024;
/// How long the filling may take: other faults wait meanwhile.
const LIMIT: Duration = Duration::from_secs(10);

/// A file that takes the free space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The file.
    pub file: PathBuf,
    /// What stays free, in bytes, as unprivileged processes see it.
    pub leave_bytes: u64,
}

impl Fill {
    /// Fault `id` fills the file system that holds `directory`.
    #[must_use]
    pub fn new(directory: &Path, id: u64, leave_bytes: u64) -> Self {
        Self {
            file: directory.join(format!("{PREFIX}{id}")),
            leave_bytes,
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }

    pub(crate) fn prepare(self) -> Result<Self, ChangeError> {
        self.check_name()?;
        let directory = self.directory();
        if !directory.is_absolute() || !directory.is_dir() {
            return Err(ChangeError::refused(
                "path",
                directory.display(),
                "the absolute path of a directory on the volume to fill",
            ));
        }
        let free = free_bytes(directory)?;
        if free <= self.leave_bytes {
            return Err(ChangeError::refused(
                "leave_bytes",
                self.leave_bytes,
                format!(
                    "fewer than the {free} bytes that are free on {}",
                    directory.display()
                ),
            ));
        }
        Ok(self)
    }

    fn check_name(&self) -> Result<(), ChangeError> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) {
            Ok(())
        } else {
            Err(ChangeError::refused(
                "file",
                self.file.display(),
                format!("a name that begins with {PREFIX}"),
            ))
        }
    }

    /// Makes the file as large as it has to be.
    pub fn apply(&self) -> Result<(), ChangeError> {
        self.check_name()?;
        let io = || ChangeError::io("fill", &self.file);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&self.file);
        let mut file = match opened {
            Err(error) if is_not_ours(&error) => return self.apply_as_admin(),
            opened => opened.map_err(io())?,
        };
        let end = Instant::now() + LIMIT;
        let mut at_most = u64::MAX;
        for _ in 0..ROUNDS {
            let free = free_bytes(self.directory())?;
            let wanted = free.saturating_sub(self.leave_bytes).min(at_most);
            if wanted == 0 {
                break;
            }
            match grow(&mut file, wanted, end) {
                Ok(()) => at_most = u64::MAX,
                // The last blocks are not there for one piece, or are needed to manage it: less, then.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => at_most = wanted / 2,
                Err(error) => return Err(io()(error)),
            }
        }
        Ok(())
    }

    /// The same with a program, whose file is one piece: it grows until the next half of what is left does not fit.
    ///
    /// What did not fit may have taken space all the same: ext4 keeps what it could allocate of it.
    fn apply_as_admin(&self) -> Result<(), ChangeError> {
        let path = self.file.display().to_string();
        let before = free_bytes(self.directory())?;
        let mut free = before;
        let mut at_most = u64::MAX;
        for _ in 0..ROUNDS {
            let wanted = free.saturating_sub(self.leave_bytes).min(at_most);
            if wanted < SMALLEST {
                break;
            }
            // Nobody else is to write there meanwhile; who does makes the file the smaller.
            let longer = before.saturating_sub(free) + wanted;
            match command::run_as_admin("fallocate", &["--length", &longer.to_string(), &path]) {
                Ok(_) => {}
                Err(error) if error.says(&["No space left"]) => at_most = wanted / 2,
                Err(error) => return Err(error.into()),
            }
            free = free_bytes(self.directory())?;
        }
        if free == before && before > self.leave_bytes + SMALLEST {
            return Err(ChangeError::refused(
                "path",
                &path,
                "a volume on which a file can be made",
            ));
        }
        Ok(())
    }

    /// Removes the file.
    pub fn revert(&self) -> Result<(), ChangeError> {
        self.check_name()?;
        match fs::remove_file(&self.file) {
            Err(error) if is_not_ours(&error) => {
                let path = self.file.display().to_string();
                command::run_as_admin("rm", &["-f", "--", &path])?;
                Ok(())
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ChangeError::io("remove", &self.file)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether an error says that this process may not write there, by the file's owner or by its own sandbox.
fn is_not_ours(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Free space as unprivileged processes see it.
fn free_bytes(directory: &Path) -> Result<u64, ChangeError> {
    let stat = rustix::fs::statvfs(directory)
        .map_err(|error| ChangeError::io("measure", directory)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn grow(file: &mut File, bytes: u64, end: Instant) -> io::Result<()> {
    let length = file.metadata()?.len();
    match rustix::fs::fallocate(&*file, FallocateFlags::empty(), length, bytes) {
        Ok(()) => return Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    file.seek(SeekFrom::End(0))?;
    let mut left = bytes;
    while left > 0 {
        if Instant::now() >= end {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the file system cannot allocate, and is too large to be written full within 10 s",
            ));
        }
        let piece = left.min(CHUNK.len() as u64);
        // The piece is not longer than the chunk.
        file.write_all(&CHUNK[..usize::try_from(piece).unwrap_or(CHUNK.len())])?;
        left -= piece;
    }
    // Until then the file system may have only promised the blocks.
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_fill_is_never_touched() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("data");
        fs::write(&file, "precious").unwrap();
        let fill = Fill {
            file: file.clone(),
            leave_bytes: 0,
        };
        assert!(fill.apply().is_err() && fill.revert().is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }

    #[test]
    fn a_volume_that_is_not_there_or_fuller_than_asked_is_refused_by_field() {
        let error = Fill::new(Path::new("/nonexistent"), 1, 0)
            .prepare()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("path") && error.contains("/nonexistent"),
            "{error}"
        );
        let error = Fill::new(Path::new("/tmp"), 1, u64::MAX)
            .prepare()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("leave_bytes") && error.contains("are free"),
            "{error}"
        );
    }

    /// On a file system of its own, 16 MiB large. Mounting needs root; the test runs as root wherever the project is built.
    #[test]
    fn a_file_system_is_filled_to_the_byte_asked_for_and_freed() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mounted = command(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                "size=16m",
                "tmpfs",
                directory.path().to_str().unwrap(),
            ],
        );
        assert!(mounted, "cannot mount a tmpfs");
        let fill = Fill::new(directory.path(), 7, 1 << 20).prepare().unwrap();
        let before = free_bytes(directory.path()).unwrap();
        let applied = fill.apply().and_then(|()| fill.apply());
        let left = free_bytes(directory.path()).unwrap();
        let reverted = fill.revert().and_then(|()| fill.revert());
        let after = free_bytes(directory.path()).unwrap();
        assert!(command("umount", &[directory.path().to_str().unwrap()]));
        applied.unwrap();
        reverted.unwrap();
        assert_eq!(left, 1 << 20);
        assert_eq!(after, before);
    }

    /// As the playbook's data volume is: ext4 without reserved blocks, which keeps a part of what does not fit.
    #[test]
    fn an_ext4_volume_is_filled_by_a_program_as_well() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (image, volume) = (directory.path().join("image"), directory.path().join("v"));
        let (image_path, at) = (image.to_str().unwrap(), volume.to_str().unwrap());
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(&volume).unwrap();
        assert!(command("mkfs.ext4", &["-q", "-F", "-m", "0", image_path]));
        assert!(command("mount", &["-o", "loop", image_path, at]));
        let mut seen = Vec::new();
        for leave in [0, 5 << 20] {
            let before = free_bytes(&volume).unwrap();
            let fill = Fill::new(&volume, 7, leave);
            let applied = fill.apply_as_admin();
            let left = free_bytes(&volume).unwrap();
            let reverted = fill.revert();
            let after = free_bytes(&volume).unwrap();
            seen.push((applied, reverted, left.abs_diff(leave), after == before));
        }
        assert!(command("umount", &[at]));
        for (applied, reverted, off, is_freed) in seen {
            applied.unwrap();
            reverted.unwrap();
            assert!(
                off < 2 * SMALLEST,
                "{off} bytes more or less are free than asked"
            );
            assert!(is_freed);
        }
    }

    fn command(program: &'static str, args: &[&str]) -> bool {
        crate::host::command::run(program, args).is_ok()
    }
}
