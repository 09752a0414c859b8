//! The folder that becomes the package: files with fixed modes and times.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::run::Run;

/// A folder laid out as the root of a Debian system.
pub(super) struct Tree(PathBuf);

impl Tree {
    /// An empty one; what was there before goes.
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// Adds a file with this content; a name that ends in `.gz` has it compressed, without a time stamp.
    pub(super) fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let file = self.0.join(path);
        let dir = file.parent().context("a file without a folder")?;
        fs::create_dir_all(dir)?;
        let compressed = if path.ends_with(".gz") {
            Some(gzip(content)?)
        } else {
            None
        };
        fs::write(&file, compressed.as_deref().unwrap_or(content))
            .with_context(|| format!("cannot write {}", file.display()))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// Adds a copy of a file.
    pub(super) fn copy(&self, from: &Path, path: &str, mode: u32) -> Result<()> {
        let content = fs::read(from)
            .with_context(|| format!("cannot read {} for the package", from.display()))?;
        self.write(path, &content, mode)
    }

    /// Adds a file of this name from every folder in a folder.
    pub(super) fn files_of_folders(
        &self,
        parent: &Path,
        path: &str,
        file: &str,
        mode: u32,
    ) -> Result<()> {
        let folders = fs::read_dir(parent)
            .with_context(|| format!("cannot read {} for the package", parent.display()))?;
        for folder in folders {
            let folder = folder?;
            let name = folder.file_name();
            let path = format!("{path}/{}/{file}", name.to_string_lossy());
            self.copy(&folder.path().join(file), &path, mode)?;
        }
        Ok(())
    }

    /// Adds what the manifest lists, one `SOURCE DEST MODE` a line, `#` for comments. `@VERSION@` is replaced in Debian's changelog.
    pub(super) fn manifest(&self, manifest: &Path, version: &str) -> Result<()> {
        let text = fs::read_to_string(manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [source, dest, mode] => {
                    let mode = u32::from_str_radix(mode, 8).with_context(|| {
                        format!(
                            "{}:{}: {mode} is no octal mode",
                            manifest.display(),
                            number + 1
                        )
                    })?;
                    let mut content = fs::read(paths::root().join(source)).with_context(|| {
                        format!(
                            "{}:{}: cannot read {source}",
                            manifest.display(),
                            number + 1
                        )
                    })?;
                    if source.ends_with("debian/changelog") {
                        content = String::from_utf8(content)?
                            .replace("@VERSION@", version)
                            .into_bytes();
                    }
                    self.write(dest.trim_start_matches('/'), &content, mode)?;
                }
                _ => bail!(
                    "{}:{}: {line:?} is not SOURCE DEST MODE",
                    manifest.display(),
                    number + 1
                ),
            }
        }
        Ok(())
    }

    /// Everything but DEBIAN, sorted, as paths from the root.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    if path != self.0.join("DEBIAN") {
                        folders.push(path);
                    }
                } else {
                    found.push(path.strip_prefix(&self.0)?.to_owned());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// `md5sums` as dpkg reads it, for `dpkg --verify`.
    pub(super) fn checksums(&self) -> Result<String> {
        let sums = Run::new("md5sum")
            .args(self.files()?)
            .dir(&self.0)
            .output()?;
        Ok(format!("{sums}\n"))
    }

    /// What it takes on a disk.
    pub(super) fn installed_kib(&self) -> Result<u64> {
        let mut kib = 0;
        for file in self.files()? {
            kib += fs::metadata(self.0.join(file))?.len().div_ceil(1024);
        }
        Ok(kib)
    }

    /// Path and mode of every file.
    pub(super) fn modes(&self) -> Result<String> {
        let mut list = String::new();
        for file in self.files()? {
            list.push_str(&format!(
                "{} {:o}\n",
                file.display(),
                fs::metadata(self.0.join(&file))?.permissions().mode()
            ));
        }
        Ok(list)
    }

    /// Gives files and folders one time and folders one mode: nothing of this machine's clock or umask is left in the package.
    pub(super) fn set_times(&self, epoch: u64) -> Result<()> {
        let time = UNIX_EPOCH + Duration::from_secs(epoch);
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    fs::File::open(&path)?.set_modified(time)?;
                }
            }
            fs::File::open(&folder)?.set_modified(time)?;
        }
        Ok(())
    }
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("gzip")
        .arg("-9n")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start gzip")?;
    let mut stdin = child.stdin.take().context("gzip without an input")?;
    let content = content.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&content));
    let output = child.wait_with_output()?;
    if !output.status.success() || !writer.join().is_ok_and(|written| written.is_ok()) {
        bail!("gzip failed ({})", output.status);
    }
    Ok(output.stdout)
}
