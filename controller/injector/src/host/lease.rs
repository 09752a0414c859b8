//! The injector's sign of life, for the guard: a time in a small file, renewed while changes are journalled.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use observastack_loader::clock::monotonic_ns;
use tracing::warn;

/// How often the lease is renewed.
pub const RENEWAL: Duration = Duration::from_millis(100);
/// A lease that is older has lapsed: its injector is dead or frozen.
pub const LAPSE_NS: u64 = 700_000_000;

/// Where the lease of the injector on this socket is.
#[must_use]
pub fn path(socket: &Path) -> PathBuf {
    socket.with_extension("lease")
}

/// The file that holds the last sign of life, in nanoseconds of `CLOCK_MONOTONIC`, 8 bytes little-endian. Best on a tmpfs.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

impl Lease {
    /// Opens the file, and makes it if there is none.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Ok(Self { file })
    }

    /// Writes down that the injector is alive now.
    pub fn beat(&self) -> io::Result<()> {
        // One write of 8 bytes at one place: a reader sees the old time or the new one.
        self.file.write_all_at(&monotonic_ns().to_le_bytes(), 0)
    }
}

/// Whether nobody has renewed the lease for [`LAPSE_NS`]. A file that is missing or cut short is a lapsed lease.
#[must_use]
pub fn is_lapsed(path: &Path) -> bool {
    let renewed_ns = fs::read(path)
        .ok()
        .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
    // A time in the future is another boot's.
    !renewed_ns.is_some_and(|renewed_ns| {
        monotonic_ns()
            .checked_sub(renewed_ns)
            .is_some_and(|age_ns| age_ns <= LAPSE_NS)
    })
}

/// A thread that renews the lease while it is switched on; it does nothing else, so nothing can hold it up.
#[derive(Debug)]
pub(crate) struct Keeper {
    lease: Arc<Lease>,
    on: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn spawn(path: &Path) -> io::Result<Self> {
        let lease = Arc::new(Lease::create(path)?);
        let (on, ended) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let thread = thread::Builder::new().name("lease".to_owned()).spawn({
            let (lease, on, ended) = (Arc::clone(&lease), Arc::clone(&on), Arc::clone(&ended));
            move || {
                while !ended.load(Ordering::Acquire) {
                    if !on.load(Ordering::Acquire) {
                        thread::park();
                        continue;
                    }
                    if let Err(error) = lease.beat() {
                        warn!(%error, "cannot renew the lease: the guard will revert everything");
                    }
                    thread::park_timeout(RENEWAL);
                }
            }
        })?;
        Ok(Self {
            lease,
            on,
            ended,
            thread: Some(thread),
        })
    }

    /// Renews the lease now, and from now on.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.lease.beat()?;
        if !self.on.swap(true, Ordering::AcqRel)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        Ok(())
    }

    pub(crate) fn stop(&self) {
        self.on.store(false, Ordering::Release);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lapses_when_nobody_renews_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lease");
        assert!(is_lapsed(&path));
        let lease = Lease::create(&path).unwrap();
        assert!(is_lapsed(&path));
        lease.beat().unwrap();
        assert!(!is_lapsed(&path));
        let old = monotonic_ns() - LAPSE_NS - 1;
        fs::write(&path, old.to_le_bytes()).unwrap();
        assert!(is_lapsed(&path));
        fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
        assert!(is_lapsed(&path));
    }

    #[test]
    fn a_keeper_renews_while_it_is_on_and_only_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lease");
        let keeper = Keeper::spawn(&path).unwrap();
        keeper.start().unwrap();
        let first = fs::read(&path).unwrap();
        thread::sleep(RENEWAL * 3);
        let second = fs::read(&path).unwrap();
        assert_ne!(first, second);
        keeper.stop();
        thread::sleep(RENEWAL * 2);
        let last = fs::read(&path).unwrap();
        thread::sleep(RENEWAL * 3);
        assert_eq!(fs::read(&path).unwrap(), last);
    }
}
