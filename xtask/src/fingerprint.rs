//! Has anything changed since the last time? A number over files and words, kept beside the result.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

use anyhow::{Context, Result};

/// Collects what a result depends on.
#[derive(Default)]
pub(crate) struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// Adds a word: a version, an option.
    pub(crate) fn word(mut self, word: &str) -> Self {
        word.hash(&mut self.0);
        self
    }

    /// Adds a file, or everything below a directory but `target/` and hidden entries, in a fixed order.
    pub(crate) fn path(mut self, path: &Path) -> Result<Self> {
        self.add(path)?;
        Ok(self)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let context = || format!("cannot read {}", path.display());
        let meta = fs::symlink_metadata(path).with_context(context)?;
        path.file_name().hash(&mut self.0);
        if meta.is_dir() {
            let mut entries = fs::read_dir(path)
                .with_context(context)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()?;
            entries.sort();
            for entry in entries {
                let name = entry
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                if name != "target" && !name.starts_with('.') {
                    self.add(&entry)?;
                }
            }
        } else if meta.is_symlink() {
            fs::read_link(path).with_context(context)?.hash(&mut self.0);
        } else {
            fs::read(path).with_context(context)?.hash(&mut self.0);
        }
        Ok(())
    }

    /// The number as text.
    pub(crate) fn finish(self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

/// Whether `result` is there and was made with this fingerprint.
pub(crate) fn is_current(result: &Path, fingerprint: &str) -> bool {
    result.exists() && fs::read_to_string(stamp(result)).is_ok_and(|stored| stored == fingerprint)
}

/// Notes that `result` was made with this fingerprint.
pub(crate) fn note(result: &Path, fingerprint: &str) -> Result<()> {
    let stamp = stamp(result);
    fs::write(&stamp, fingerprint).with_context(|| format!("cannot write {}", stamp.display()))
}

fn stamp(result: &Path) -> std::path::PathBuf {
    let mut name = result.as_os_str().to_owned();
    name.push(".fingerprint");
    name.into()
}
