//! A file that only takes up room, so that there is some when the disk is full: deleting rows has to write first.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The longest WAL: emptying it into the database may have to extend the database by all of it, before anything can be deleted.
const BYTES: usize = 16 << 20;

/// The file.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    /// Takes the room up, where there is some.
    pub(super) fn open(directory: &Path) -> Self {
        let mut reserve = Self {
            path: directory.join("reserve"),
            held: false,
        };
        reserve.hold();
        reserve
    }

    /// Takes the room up again.
    pub(super) fn hold(&mut self) {
        // Room that others would miss at once is not taken.
        let room = self.path.parent().and_then(free_bytes);
        if self.held || room.is_some_and(|room| room < 2 * BYTES as u64) {
            return;
        }
        let write = || {
            let mut file = File::create(&self.path)?;
            // Written, not only sized: a sparse file reserves nothing.
            let block = [0x5a_u8; 64 << 10];
            for _ in 0..BYTES / block.len() {
                file.write_all(&block)?;
            }
            file.sync_all()
        };
        match write() {
            Ok(()) => self.held = true,
            // There is no room: half a file would only take what the store needs.
            Err(_) => self.release(),
        }
    }

    /// Gives the room to the store.
    pub(super) fn release(&mut self) {
        // An error leaves the file: it is there to be deleted the next time.
        let _ = fs::remove_file(&self.path);
        self.held = false;
    }
}

/// Bytes that this process may still write on the directory's disk; `None` where nobody knows.
pub(super) fn free_bytes(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}
