//! A small root file system for a test kernel: a `newc` cpio archive, written here so that neither root nor a tool is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run::Run;

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// The archive while it grows.
#[derive(Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    known: BTreeSet<String>,
    inode: u32,
}

impl Initramfs {
    /// Adds a file with this content; the folders above it come by themselves.
    pub(crate) fn file(&mut self, path: &str, content: &[u8], executable: bool) {
        self.folders_above(path);
        self.entry(path, if executable { EXECUTABLE } else { FILE }, content);
    }

    /// Adds an empty folder.
    pub(crate) fn folder(&mut self, path: &str) {
        self.folders_above(&format!("{path}/x"));
    }

    /// Adds a file of this machine.
    pub(crate) fn copy(&mut self, from: &Path, path: &str, executable: bool) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, &content, executable);
        Ok(())
    }

    /// Adds a program and the shared libraries that it needs, each at its own path.
    pub(crate) fn program(&mut self, from: &Path, path: &str) -> Result<()> {
        self.copy(from, path, true)?;
        let libraries = Run::new("ldd").arg(from).limit_s(60).output()?;
        for line in libraries.lines() {
            // "libm.so.6 => /lib/x.so (0x..)" or "/lib64/ld-linux-x86-64.so.2 (0x..)"; the kernel's own vdso has no path.
            let Some(library) = line.split_whitespace().find(|word| word.starts_with('/')) else {
                continue;
            };
            if !self.known.contains(library.trim_start_matches('/')) {
                self.copy(&PathBuf::from(library), library, true)?;
            }
        }
        Ok(())
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn folders_above(&mut self, path: &str) {
        let path = path.trim_start_matches('/').to_owned();
        for (end, _) in path.match_indices('/') {
            let folder = &path[..end];
            if !self.known.contains(folder) {
                self.entry(folder, DIRECTORY, &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = path.trim_start_matches('/');
        self.known.insert(path.to_owned());
        self.inode += 1;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        self.bytes.extend_from_slice(b"070701");
        for field in [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0,
        ] {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}
