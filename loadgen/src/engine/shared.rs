//! What workers and watchers share.
//!
//! A worker never waits for a watcher, nor copies for it: what it has measured is handed over as a whole, and an empty one is taken instead.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::Command;
use crate::stats::Stats;

#[derive(Debug)]
pub(super) struct Shared {
    slots: Vec<Slot>,
    is_stopped: AtomicBool,
    /// Grows with each command.
    commands: AtomicU64,
    command: Mutex<Command>,
}

#[derive(Debug, Default)]
struct Slot {
    measured: Mutex<Option<Box<Stats>>>,
    empty: Mutex<Option<Box<Stats>>>,
}

impl Shared {
    pub(super) fn new(workers: usize, empty: impl Fn() -> Stats) -> Self {
        let slot = || Slot {
            measured: Mutex::default(),
            empty: Mutex::new(Some(Box::new(empty()))),
        };
        Self {
            slots: (0..workers).map(|_| slot()).collect(),
            is_stopped: AtomicBool::new(false),
            commands: AtomicU64::new(0),
            command: Mutex::default(),
        }
    }

    /// Hands over what was measured, where somebody has taken what was handed over before.
    pub(super) fn hand_over(&self, worker: usize, stats: &mut Box<Stats>) {
        let Some(slot) = self.slots.get(worker) else {
            return;
        };
        let mut measured = lock(&slot.measured);
        if measured.is_none()
            && let Some(empty) = lock(&slot.empty).take()
        {
            *measured = Some(std::mem::replace(stats, empty));
        }
    }

    /// Shows what each worker has measured since the last time.
    pub(super) fn take(&self, mut look: impl FnMut(&Stats)) {
        for slot in &self.slots {
            let taken = lock(&slot.measured).take();
            if let Some(mut stats) = taken {
                look(&stats);
                stats.clear();
                *lock(&slot.empty) = Some(stats);
            }
        }
    }

    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, command: Command) {
        *lock(&self.command) = command;
        self.commands.fetch_add(1, Ordering::Release);
    }

    /// The last command, where it is another than the known one.
    pub(super) fn news(&self, known: &mut u64) -> Option<Command> {
        let commands = self.commands.load(Ordering::Acquire);
        if commands == *known {
            return None;
        }
        *known = commands;
        Some(*lock(&self.command))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
