//! What can go wrong with a configuration, in words that tell how to go on.

use std::io;
use std::path::PathBuf;

use super::FieldError;

/// Why a configuration could not be opened or changed. Nothing is half-applied: the one in effect stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file or directory cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the state directory open.
    #[error("the state directory {} is in use by another process of this service: stop that one first", path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// A file is not JSON of the right shape.
    #[error("{} is corrupt at {place}: {reason}; {repair}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Line and column, or the field.
        place: String,
        /// What is wrong there.
        reason: String,
        /// What to do about it.
        repair: String,
    },
    /// A file is well-formed, but its configuration is not (or no longer) allowed.
    #[error("{} has values that are not allowed: {}; {repair}", path.display(), list(fields))]
    InvalidFile {
        /// The file.
        path: PathBuf,
        /// Every refused field.
        fields: Vec<FieldError>,
        /// What to do about it.
        repair: String,
    },
    /// A new configuration is not allowed.
    #[error("the configuration is not allowed: {}", list(fields))]
    Invalid {
        /// Every refused field.
        fields: Vec<FieldError>,
    },
    /// The configuration was changed by somebody else in between.
    #[error(
        "the configuration is at version {current}, not the one the change is for: read it again"
    )]
    VersionMismatch {
        /// The version in effect.
        current: u64,
    },
    /// No further change can be numbered.
    #[error("version {version} is the last one possible: reset the state file to start at 1 again")]
    VersionsUsedUp {
        /// The version in effect.
        version: u64,
    },
    /// There is no space, quota or allowed file size left for the state file.
    #[error("no space left to write {}: {source}; the configuration stays as it was", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The state file cannot be written.
    #[error("cannot {step} {}: {source}; the configuration stays as it was", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The change was cut off: the runtime is going down, or there is a bug.
    #[error("the change was not carried out: {reason}")]
    CutOff {
        /// What the runtime says.
        reason: String,
    },
}

impl ConfigError {
    /// Every refused field; empty when the error is not about fields.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        match self {
            Self::Invalid { fields } | Self::InvalidFile { fields, .. } => fields,
            _ => &[],
        }
    }

    /// Sorts a failure to write: full disks are told apart, because they are the operator's to solve.
    pub(super) fn writing(path: PathBuf, step: &'static str, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::DiskFull { path, source },
            _ => Self::NotWritten { path, step, source },
        }
    }
}

fn list(fields: &[FieldError]) -> String {
    fields
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
