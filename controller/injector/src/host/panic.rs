//! The panic file: while it is there, an injector refuses new faults.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Since when, and at whose command, new faults are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Panic {
    /// Milliseconds since the epoch.
    pub since_unix_ms: u64,
    /// Who asked.
    pub by_uid: u32,
}

/// Where the file is, below the injector's state directory.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("panic")
}

/// The panic that holds, if any. A file that cannot be read counts: whoever made it meant it.
#[must_use]
pub fn read(state_dir: &Path) -> Option<Panic> {
    match fs::read(path(state_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        text => {
            let panic = text
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok());
            Some(panic.unwrap_or(Panic {
                since_unix_ms: 0,
                by_uid: 0,
            }))
        }
    }
}

/// Declares the panic, on the disk before this returns. One that holds already stays as it is.
pub fn write(state_dir: &Path, by_uid: u32) -> io::Result<Panic> {
    if let Some(panic) = read(state_dir) {
        return Ok(panic);
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let panic = Panic {
        since_unix_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        by_uid,
    };
    let new = path(state_dir).with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&serde_json::to_vec(&panic)?)?;
    file.sync_all()?;
    fs::rename(&new, path(state_dir))?;
    File::open(state_dir)?.sync_all()?;
    Ok(panic)
}

/// Lifts the panic. False where there was none.
pub fn lift(state_dir: &Path) -> io::Result<bool> {
    match fs::remove_file(path(state_dir)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_holds_from_its_declaration_until_it_is_lifted() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(read(directory), None);
        let panic = write(directory, 1000).unwrap();
        assert!(panic.since_unix_ms > 1_600_000_000_000);
        assert_eq!(read(directory), Some(panic));
        // The first one to panic is remembered.
        assert_eq!(write(directory, 0).unwrap(), panic);
        let text = fs::read_to_string(path(directory)).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"since_unix_ms":{},"by_uid":1000}}"#,
                panic.since_unix_ms
            )
        );
        assert!(lift(directory).unwrap());
        assert!(!lift(directory).unwrap());
        assert_eq!(read(directory), None);
    }

    #[test]
    fn a_file_that_nobody_can_read_is_a_panic_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(path(directory.path()), "help").unwrap();
        assert!(read(directory.path()).is_some());
    }

    #[test]
    fn a_state_directory_that_is_missing_is_an_error_not_a_panic() {
        assert_eq!(read(Path::new("/nonexistent")), None);
        assert!(write(Path::new("/nonexistent"), 0).is_err());
    }
}
