//! A process beside the injector that reverts what the injector no longer can.
//!
//! While the journal has entries it looks every 100 ms: an entry whose end is past by more than 500 ms is reverted, and all
//! are when the injector's lease has lapsed, because it was killed or frozen. It holds a lock for as long as it lives, so that
//! the injector can refuse a fault that nobody would watch over.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use observastack_loader::clock::monotonic_ns;
use rustix::{fs::FlockOperation, io::Errno};
use tracing::{info, warn};

use super::{
    journal::{Entry, Journal, JournalError},
    lease, process,
    timer::Armer,
};
use crate::instance;

/// How often entries are looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often an empty journal is: soon enough for a fault whose injector dies at once to be gone within 2 s.
const IDLE: Duration = Duration::from_millis(250);
/// How long after a fault's end its injector may still revert it.
const OVERDUE_NS: u64 = 500_000_000;
/// How long the guard waits for whoever has locked the journal.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long a revert that failed is left alone at first, and at most.
const RETRY_NS: (u64, u64) = (200_000_000, 10_000_000_000);

/// What a guard needs to know.
pub struct Options {
    /// The journal's directory.
    pub journal: PathBuf,
    /// The injector's lease.
    pub lease: PathBuf,
    /// Where the guard's own lock is.
    pub directory: PathBuf,
    /// The lock of the injector, with its pid. An injector that froze while it wrote the journal is killed by it.
    pub injector_lock: Option<PathBuf>,
    /// Who disarms the timer of a fault that the guard has reverted.
    pub armer: Box<dyn Armer>,
}

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// One guard is enough.
    #[error("another guard is running; it holds {0}")]
    Running(PathBuf),
    /// The lock cannot be taken.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The lock.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A guard that holds its lock.
pub struct Guard {
    options: Options,
    journal: Journal,
    /// Reverts that failed: when the next try is due, and how long the wait after it is.
    failed: BTreeMap<u64, (u64, u64)>,
    _lock: File,
}

/// Whether a guard watches over the journal. A caller that is to make a change it could not undo itself asks first.
#[must_use]
pub fn is_running(directory: &Path) -> bool {
    let Ok(file) = File::open(lock_path(directory)) else {
        return false;
    };
    // Nobody but a guard takes the exclusive lock; two who ask may share.
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("guard.lock")
}

impl Guard {
    /// Takes the lock and opens the journal.
    pub fn claim(options: Options) -> Result<Self, GuardError> {
        let path = lock_path(&options.directory);
        let io = |source| GuardError::Io {
            path: path.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&options.directory)
            .map_err(io)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        // Somebody who asks holds it for a moment.
        let taken = (0..20).any(|_| {
            let taken = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            if !taken {
                thread::sleep(Duration::from_millis(5));
            }
            taken
        });
        if !taken {
            return Err(GuardError::Running(path));
        }
        Ok(Self {
            journal: Journal::open(&options.journal)?.with_patience(PATIENCE),
            failed: BTreeMap::new(),
            options,
            _lock: lock,
        })
    }

    /// Watches until told to stop. `beat_ns` is kept current for a watchdog, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn run(mut self, stop: &AtomicBool, beat_ns: &AtomicU64) {
        while !stop.load(Ordering::Acquire) {
            let wait = self.look(beat_ns);
            beat_ns.store(monotonic_ns(), Ordering::Release);
            thread::sleep(wait);
        }
    }

    /// One look at the journal; gives how long the next one may wait.
    fn look(&mut self, beat_ns: &AtomicU64) -> Duration {
        let entries = match self.journal.entries() {
            Ok(entries) => entries,
            Err(error) => {
                warn!(%error, "cannot read the journal");
                return IDLE;
            }
        };
        if entries.is_empty() {
            self.failed.clear();
            return IDLE;
        }
        let now_ns = monotonic_ns();
        let lapsed = lease::is_lapsed(&self.options.lease);
        // The latest first: it was built on the earlier ones.
        for entry in entries.iter().rev() {
            if let Some(reason) = self.due(entry, now_ns, lapsed) {
                self.revert(entry, reason, lapsed);
                // Each may take a while on a slow machine, and a guard that is killed over it helps nobody.
                beat_ns.store(monotonic_ns(), Ordering::Release);
            }
        }
        POLL
    }

    fn due(&self, entry: &Entry, now_ns: u64, lapsed: bool) -> Option<&'static str> {
        if self
            .failed
            .get(&entry.id)
            .is_some_and(|(next_ns, _)| now_ns < *next_ns)
        {
            return None;
        }
        if !self.journal.is_of_this_boot(entry) {
            Some("it is of another boot")
        } else if lapsed {
            Some("the injector shows no sign of life")
        } else if now_ns > entry.end_monotonic_ns.saturating_add(OVERDUE_NS) {
            Some("its end is past")
        } else {
            None
        }
    }

    fn revert(&mut self, entry: &Entry, reason: &str, lapsed: bool) {
        let id = entry.id;
        let mut result = self.journal.revert(id);
        if lapsed && matches!(result, Err(JournalError::Busy { .. })) && self.kill_injector() {
            result = self.journal.revert(id);
        }
        match result {
            Ok(()) => {
                self.options.armer.disarm(id);
                // Not the unit: it may be what somebody has to find, and the injector has told it where it is not.
                info!(
                    fault = id,
                    reason, "fault {id} reverted by the guard: {reason}"
                );
                self.failed.remove(&id);
            }
            Err(error) => {
                let wait_ns = self
                    .failed
                    .get(&id)
                    .map_or(RETRY_NS.0, |(_, wait_ns)| *wait_ns);
                warn!(fault = id, reason, %error, "fault {id} cannot be reverted yet");
                let again_ns = monotonic_ns().saturating_add(wait_ns);
                self.failed
                    .insert(id, (again_ns, (wait_ns * 2).min(RETRY_NS.1)));
            }
        }
    }

    /// An injector that was frozen in the middle of a change would go on with it once thawed, after everything was reverted.
    fn kill_injector(&self) -> bool {
        let Some(lock) = &self.options.injector_lock else {
            return false;
        };
        match instance::kill_holder(lock) {
            Ok(Some(pid)) => {
                warn!(
                    pid,
                    "the injector froze while it held the journal, and was killed"
                );
                true
            }
            Ok(None) => false,
            Err(error) => {
                warn!(%error, "cannot kill the injector that froze while it held the journal");
                false
            }
        }
    }
}

/// Whether a process is an injector: by its binary, or where that may not be read, by its name.
pub(crate) fn is_injector(pid: i32) -> bool {
    const BINARY: &str = "observastack-injector";
    if let Ok(binary) = fs::read_link(format!("/proc/{pid}/exe")) {
        let name = binary
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        // An upgrade replaces the file under a running process.
        return name.trim_end_matches(" (deleted)") == BINARY;
    }
    // The guard has fewer capabilities than the injector, so the kernel keeps the link from it. Names have 15 characters.
    process::start_time(pid).is_some()
        && fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name.trim() == &BINARY[..15])
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;
    use crate::host::{change::Change, changes::Freeze, lease::Lease};

    struct Scene {
        directory: tempfile::TempDir,
        stop: Arc<AtomicBool>,
        thread: Option<thread::JoinHandle<()>>,
    }

    impl Scene {
        /// A real guard over an empty journal, and a lease that was renewed just now.
        fn new() -> (Self, Lease) {
            let directory = tempfile::tempdir().unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let lease = Lease::create(&directory.path().join("lease")).unwrap();
            lease.beat().unwrap();
            let guard = Guard::claim(options(&directory)).unwrap();
            let thread = thread::spawn({
                let stop = Arc::clone(&stop);
                move || guard.run(&stop, &AtomicU64::new(0))
            });
            let scene = Self {
                directory,
                stop,
                thread: Some(thread),
            };
            (scene, lease)
        }

        fn freeze(&self, id: u64, end_ns: u64) -> Journal {
            let cgroup = self.directory.path().join("cgroup");
            fs::create_dir_all(&cgroup).unwrap();
            fs::write(cgroup.join("cgroup.freeze"), "0").unwrap();
            let change = Change::Freeze(Freeze {
                unit: "shop.service".to_owned(),
                cgroups: vec![cgroup],
                pulsed: false,
            });
            let journal = Journal::open(&self.directory.path().join("journal")).unwrap();
            journal
                .apply(journal.entry(id, "shop.service", end_ns, vec![change]))
                .unwrap();
            assert_eq!(self.frozen(), "1");
            journal
        }

        fn frozen(&self) -> String {
            fs::read_to_string(self.directory.path().join("cgroup/cgroup.freeze")).unwrap()
        }

        /// How long it takes until the journal is empty.
        fn gone(&self, journal: &Journal) -> Duration {
            let begun = Instant::now();
            while !journal.is_empty().unwrap() {
                assert!(begun.elapsed() < Duration::from_secs(10), "never reverted");
                thread::sleep(Duration::from_millis(5));
            }
            begun.elapsed()
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::Release);
            let _ = self.thread.take().unwrap().join();
        }
    }

    fn options(directory: &tempfile::TempDir) -> Options {
        Options {
            journal: directory.path().join("journal"),
            lease: directory.path().join("lease"),
            directory: directory.path().join("guard"),
            injector_lock: None,
            armer: Box::new(crate::host::timer::Unarmed),
        }
    }

    #[test]
    fn a_lapsed_lease_reverts_everything_within_two_seconds() {
        let (scene, _lease) = Scene::new();
        let journal = scene.freeze(7, u64::MAX);
        let took = scene.gone(&journal);
        assert_eq!(scene.frozen(), "0");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn a_renewed_lease_keeps_the_fault_until_its_end_is_past() {
        let (scene, lease) = Scene::new();
        let begun = monotonic_ns();
        let journal = scene.freeze(7, begun + 1_200_000_000);
        while monotonic_ns() < begun + 1_600_000_000 {
            lease.beat().unwrap();
            assert_eq!(scene.frozen(), "1");
            thread::sleep(Duration::from_millis(50));
        }
        let beats = Arc::new(AtomicBool::new(true));
        thread::scope(|scope| {
            scope.spawn(|| {
                while beats.load(Ordering::Acquire) {
                    lease.beat().unwrap();
                    thread::sleep(Duration::from_millis(50));
                }
            });
            scene.gone(&journal);
            beats.store(false, Ordering::Release);
        });
        assert_eq!(scene.frozen(), "0");
        let after = monotonic_ns() - begun;
        assert!(after < 1_200_000_000 + 2_000_000_000, "{after}");
    }

    #[test]
    fn a_guard_can_be_told_from_none_and_there_is_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let guards = directory.path().join("guard");
        assert!(!is_running(&guards));
        let guard = Guard::claim(options(&directory)).unwrap();
        assert!(is_running(&guards));
        assert!(matches!(
            Guard::claim(options(&directory)),
            Err(GuardError::Running(_))
        ));
        drop(guard);
        assert!(!is_running(&guards));
    }

    #[test]
    fn a_process_that_is_no_injector_is_not_taken_for_one() {
        assert!(!is_injector(1));
        assert!(!is_injector(i32::MAX));
    }
}
