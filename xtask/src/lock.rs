//! One xtask at a time on the things that two would break: a machine, a cached image, a tool being installed.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

/// Held until it is dropped, or until the process ends, whatever way it ends.
pub(crate) struct Lock {
    _file: File,
}

/// Takes the lock that is this file; says so when it has to wait for another xtask.
pub(crate) fn take(path: &Path) -> Result<Lock> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!(
            "    waiting for another xtask that holds {}",
            path.display()
        );
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(Lock { _file: file })
}
