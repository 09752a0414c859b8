//! How long tasks of chosen units sleep, and in which system call: from when one leaves its CPU until it is woken. What comes after
//! that, until it has a CPU again, is the run queue's.
//!
//! No tracepoint of its own: [`super::run_queue`] knows both ends, [`super::syscalls`] the calls that tasks are in.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuHashMap},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{
    OTHER,
    histogram::Histogram,
    off_cpu::{BLOCKED_PLACES, Blocked, MAX_SERIES, Series, cause_of, comes_back},
    run_queue::place_of,
    wanted,
};

use super::{ON_DEMAND, add_to, profile, syscalls, trace};

/// How long it was.
#[map]
static OFF_CPU: PerCpuHashMap<Series, Histogram> =
    PerCpuHashMap::with_max_entries(MAX_SERIES, ON_DEMAND);
/// Tasks that sleep. On all CPUs together, as a task may wake up on another one.
#[map]
static BLOCKED: Array<Blocked> = Array::with_max_entries(BLOCKED_PLACES, 0);

/// The current task goes to sleep.
#[inline(always)]
pub(super) fn begin(ctx: &RawTracePointContext, task: u64, unit: u32, state: u32, now_ns: u64) {
    let wanted = trace::wanted(unit, wanted::OFF_CPU | wanted::SLEEP_STACKS);
    if wanted == 0 || !comes_back(state) {
        return;
    }
    let cause = cause_of(syscalls::current(), state);
    if let Some(blocked) = BLOCKED.get_ptr_mut(place_of(task)) {
        // SAFETY: a live map value.
        let blocked = unsafe { &mut *blocked };
        blocked.since_ns = now_ns;
        blocked.series = Series { unit, cause };
        let profile = wanted & wanted::SLEEP_STACKS;
        if profile != 0 {
            blocked.stacks = profile::stacks(ctx, unit);
        }
        blocked.profile = profile;
        blocked.is_counted = (wanted & wanted::OFF_CPU != 0) as u32;
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
    let slept_ns = woken_ns.saturating_sub(blocked.since_ns);
    if blocked.is_counted != 0 {
        add_to(&OFF_CPU, blocked.series, slept_ns);
    }
    let profile = blocked.profile;
    if profile != 0 && profile == trace::wanted(blocked.series.unit, wanted::SLEEP_STACKS) {
        profile::add_sleep(blocked.stacks, slept_ns);
    }
    Some(())
}
