//! How long tasks of chosen units sleep, and in which system call: from when one leaves its CPU until it is woken. What comes after
//! that, until it has a CPU again, is the run queue's.
//!
//! No tracepoint of its own: [`super::run_queue`] knows both ends, [`super::syscalls`] the calls that tasks are in.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuHashMap},
};
use observastack_abi::telemetry::{
    OTHER,
    histogram::Histogram,
    off_cpu::{BLOCKED_PLACES, Blocked, MAX_SERIES, Series, cause_of},
    run_queue::place_of,
    wanted,
};

use super::{ON_DEMAND, add_to, syscalls, trace};

/// How long it was.
#[map]
static OFF_CPU: PerCpuHashMap<Series, Histogram> =
    PerCpuHashMap::with_max_entries(MAX_SERIES, ON_DEMAND);
/// Tasks that sleep. On all CPUs together, as a task may wake up on another one.
#[map]
static BLOCKED: Array<Blocked> = Array::with_max_entries(BLOCKED_PLACES, 0);

/// The current task goes to sleep.
#[inline(always)]
pub(super) fn begin(task: u64, unit: u32, state: u32, now_ns: u64) {
    if trace::wanted(unit, wanted::OFF_CPU) == 0 {
        return;
    }
    let cause = cause_of(syscalls::current(), state);
    if let Some(blocked) = BLOCKED.get_ptr_mut(place_of(task)) {
        // SAFETY: a live map value.
        let blocked = unsafe { &mut *blocked };
        blocked.since_ns = now_ns;
        blocked.series = Series { unit, cause };
        blocked.task = task;
    }
}

/// A task that was woken then is about to run.
#[inline(always)]
pub(super) fn end(task: u64, woken_ns: u64) -> Option<()> {
    if trace::wanted(OTHER, wanted::OFF_CPU) == 0 {
        return None;
    }
    let blocked = BLOCKED.get_ptr_mut(place_of(task))?;
    // SAFETY: a live map value.
    let blocked = unsafe { &mut *blocked };
    if blocked.task != task {
        return None;
    }
    blocked.task = 0;
    add_to(
        &OFF_CPU,
        blocked.series,
        woken_ns.saturating_sub(blocked.since_ns),
    );
    Some(())
}
