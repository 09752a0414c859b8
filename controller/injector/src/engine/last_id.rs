//! Ids of faults, which go on after a restart: an old id in a terminal or a log never means another fault.

use std::{fs, io, path::PathBuf};

use tracing::warn;

/// The last id that was given to a fault, kept in a file.
#[derive(Debug)]
pub(crate) struct LastId {
    path: PathBuf,
    last: u64,
}

impl LastId {
    /// Reads the file; without one, ids begin with 1.
    pub(crate) fn read(path: PathBuf) -> Self {
        let last = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().unwrap_or_else(|_| {
                warn!(path = %path.display(), "the last fault's id is unreadable: ids begin with 1 again");
                0
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    warn!(path = %path.display(), %error, "cannot read the last fault's id");
                }
                0
            }
        };
        Self { path, last }
    }

    /// The next id, written down before it is used. A file that cannot be written costs uniqueness, not the fault.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        if let Err(error) = fs::write(&self.path, format!("{}\n", self.last)) {
            warn!(path = %self.path.display(), %error, "cannot keep the last fault's id");
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-fault-id");
        let mut ids = LastId::read(path.clone());
        assert_eq!((ids.next(), ids.next()), (1, 2));
        assert_eq!(LastId::read(path).next(), 3);
    }

    #[test]
    fn an_unreadable_file_does_not_keep_a_fault_from_being_injected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last-fault-id");
        fs::write(&path, "what?").unwrap();
        assert_eq!(LastId::read(path).next(), 1);
        assert_eq!(LastId::read(PathBuf::from("/nonexistent/id")).next(), 1);
    }
}
