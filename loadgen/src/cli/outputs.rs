//! Files that a run writes at its end.

use std::{fs::File, io::Write as _, path::PathBuf};

use anyhow::{Context, Result, bail};

/// Opened before the run, written after it.
pub(super) struct Outputs(Vec<Option<(PathBuf, File)>>);

impl Outputs {
    pub(super) fn open<const N: usize>(paths: [&Option<PathBuf>; N]) -> Result<Self> {
        let open = |path: &Option<PathBuf>| -> Result<Option<(PathBuf, File)>> {
            let Some(path) = path else {
                return Ok(None);
            };
            let file = File::create(path);
            let file = file.with_context(|| format!("cannot write {}", path.display()))?;
            Ok(Some((path.clone(), file)))
        };
        paths.into_iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// In the order of the paths; one that cannot be written keeps none of the others from it.
    pub(super) fn write<const N: usize>(self, texts: [String; N]) -> Result<()> {
        let mut failed = Vec::new();
        for (output, text) in self.0.into_iter().zip(texts) {
            let Some((path, mut file)) = output else {
                continue;
            };
            let written = file
                .write_all(text.as_bytes())
                .and_then(|()| file.sync_all());
            if let Err(error) = written {
                failed.push(format!("{}: {error}", path.display()));
            }
        }
        if !failed.is_empty() {
            bail!("cannot write {}", failed.join("; "));
        }
        Ok(())
    }
}
