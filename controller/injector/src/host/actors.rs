//! Faults that are kept up by work: connections destroyed, cgroups frozen in pulses, CPU burnt, units killed.
//!
//! Each runs in a thread of its own until its end, until it is told to stop, or until it finds that this process was not let
//! run for a while: then the guard has reverted its fault, and it must not begin anew.

mod cpu_stress;
mod freeze_pulses;
mod reset;
mod unit_kill;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub use cpu_stress::CpuStress;
pub use freeze_pulses::FreezePulses;
use observastack_abi::decision;
use observastack_loader::clock::monotonic_ns;
pub use reset::{Network, Reset};
use tracing::{debug, warn};
pub use unit_kill::{Blow, UnitKill};

use super::{journal::Journal, lease};

/// The longest that an actor sleeps at once.
const STEP: Duration = Duration::from_millis(50);

/// What an actor has done, for whoever shows it.
#[derive(Debug, Default)]
pub struct ActorCounts {
    /// What it could have acted on.
    pub matched: AtomicU64,
    /// What it acted on, with effect.
    pub injected: AtomicU64,
    /// What it wanted to act on, and could not.
    pub skipped: AtomicU64,
}

impl ActorCounts {
    fn add(&self, matched: u64, injected: u64, skipped: u64) {
        self.matched.fetch_add(matched, Ordering::Relaxed);
        self.injected.fetch_add(injected, Ordering::Relaxed);
        self.skipped.fetch_add(skipped, Ordering::Relaxed);
    }
}

/// How often an actor acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Once, at the beginning.
    Once,
    /// At the beginning, and then after each interval.
    Every(Duration),
}

/// Which of its events an actor acts on: the same seed and the same number give the same answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The seed.
    pub seed: u64,
    /// The share, from 0 to 1.
    pub probability: f64,
}

impl Choice {
    fn takes(&self, n: u64) -> bool {
        decision::is_faulted(self.seed, n, decision::threshold(self.probability))
    }
}

/// A fault that is kept up by work.
#[derive(Clone, Debug)]
pub enum Actor {
    /// Destroys TCP connections.
    Reset(Reset),
    /// Freezes and thaws in turn; the fault's [`super::Freeze`] has to be journalled as `pulsed`.
    FreezePulses(FreezePulses),
    /// Burns CPU.
    CpuStress(CpuStress),
    /// Kills or restarts the unit.
    UnitKill(UnitKill),
}

impl Actor {
    fn run(&self, run: &Run) {
        match self {
            Self::Reset(actor) => actor.run(run),
            Self::FreezePulses(actor) => actor.run(run),
            Self::CpuStress(actor) => actor.run(run),
            Self::UnitKill(actor) => actor.run(run),
        }
    }
}

/// An actor with what it counts.
#[derive(Clone, Debug)]
pub struct Work {
    /// What it does.
    pub actor: Actor,
    /// What it has done.
    pub counts: Arc<ActorCounts>,
    /// Whether somebody has to find it: then the log does not tell what could not be done.
    pub is_covert: bool,
}

/// What an actor needs while it works.
pub(crate) struct Run {
    /// The fault.
    id: u64,
    end_ns: u64,
    counts: Arc<ActorCounts>,
    is_covert: bool,
    stop: Arc<Stop>,
    journal: Journal,
}

/// Ends an actor's sleep.
#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Run {
    /// Sleeps until `until`, at most until the fault's end. False where the actor has to end.
    fn pause_until(&self, until: Instant) -> bool {
        loop {
            if monotonic_ns() >= self.end_ns {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return !self.is_stopped();
            }
            let to_end = Duration::from_nanos(self.end_ns.saturating_sub(monotonic_ns()));
            let begun = Instant::now();
            let step = left.min(STEP).min(to_end);
            let stopped = self
                .stop
                .stopped
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let waited = self
                .stop
                .changed
                .wait_timeout_while(stopped, step, |stopped| !*stopped);
            let (stopped, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if *stopped || begun.elapsed() > Duration::from_nanos(lease::LAPSE_NS) {
                return false;
            }
        }
    }

    fn pause(&self, pause: Duration) -> bool {
        self.pause_until(Instant::now() + pause)
    }

    /// Waits until the next time to act is due. False where there is none.
    fn next(&self, pace: Pace) -> bool {
        match pace {
            Pace::Once => false,
            Pace::Every(interval) => self.pause(interval),
        }
    }

    /// Tells the log what could not be done.
    fn failed(&self, error: &dyn Display, what: &str) {
        if self.is_covert {
            debug!(fault = self.id, %error, "{what}");
            warn!(fault = self.id, "fault {}: it could not act", self.id);
        } else {
            warn!(fault = self.id, %error, "{what}");
        }
    }

    fn is_stopped(&self) -> bool {
        *self
            .stop
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An actor at work.
#[derive(Debug)]
pub(crate) struct Working {
    stop: Arc<Stop>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Working {
    /// Puts an actor to work.
    pub(crate) fn begin(
        id: u64,
        end_ns: u64,
        work: Work,
        journal: Journal,
    ) -> std::io::Result<Self> {
        let Work {
            actor,
            counts,
            is_covert,
        } = work;
        let stop = Arc::new(Stop::default());
        let run = Run {
            id,
            end_ns,
            counts,
            is_covert,
            stop: Arc::clone(&stop),
            journal,
        };
        let thread = thread::Builder::new()
            .name(format!("fault-{id}"))
            .spawn(move || actor.run(&run))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread
            .as_ref()
            .is_none_or(thread::JoinHandle::is_finished)
    }
}

impl Drop for Working {
    /// Tells the actor to end, and waits until it has.
    fn drop(&mut self) {
        *self
            .stop
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The cgroups themselves and all below them, as far as they are there.
fn with_descendants(cgroups: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut open: Vec<PathBuf> = cgroups.to_vec();
    while let Some(cgroup) = open.pop() {
        if !cgroup.is_dir() || found.contains(&cgroup) {
            continue;
        }
        open.extend(directories(&cgroup));
        found.push(cgroup);
    }
    found
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests;
