//! How long tasks wait for a CPU once they can run, and whom they had to make room for.
//!
//! A wait begins when a task is woken, or leaves the CPU although it could go on, and ends when it is switched to. Whose wait it
//! was is only known cheaply of the current task: so the end of a wait is kept until that task leaves again.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, raw_tracepoint},
    maps::{Array, PerCpuArray},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{
    OTHER, UNITS,
    histogram::Histogram,
    run_queue::{Preemptions, Switched, WAITING_PLACES, Waiting, pair, place_of},
};

use super::{add, lose, now_ns, off_cpu, trace, unit_of_current};
use crate::atomic::{fetch_add, fetch_increment};

/// Waits for a CPU, by unit.
#[map]
static RUN_QUEUE: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(UNITS, 0);
/// Who preempted whom. On all CPUs together: most pairs never are, and each value of each CPU is an allocation of its own.
#[map]
static PREEMPTIONS: Array<Preemptions> = Array::with_max_entries(UNITS * UNITS, 0);
/// Tasks that wait. On all CPUs together, as a task may be woken on one and run on another.
#[map]
static WAITING: Array<Waiting> = Array::with_max_entries(WAITING_PLACES, 0);
/// The last switch of each CPU.
#[map]
static SWITCHED: PerCpuArray<Switched> = PerCpuArray::with_max_entries(1, 0);

/// A task was woken.
#[raw_tracepoint(tracepoint = "sched_wakeup")]
pub fn sched_wakeup(ctx: RawTracePointContext) -> i32 {
    begin_wait(ctx.arg(0), now_ns());
    0
}

/// A new task was woken for the first time.
#[raw_tracepoint(tracepoint = "sched_wakeup_new")]
pub fn sched_wakeup_new(ctx: RawTracePointContext) -> i32 {
    begin_wait(ctx.arg(0), now_ns());
    0
}

/// A CPU goes from one task, which is still the current one, to another. Arguments: `preempt`, `prev`, `next`, `prev_state` (5.18).
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn sched_switch(ctx: RawTracePointContext) -> i32 {
    let _ = on_switch(
        &ctx,
        ctx.arg::<u64>(0) as u8 != 0,
        ctx.arg(1),
        ctx.arg(2),
        ctx.arg::<u64>(3) as u32,
    );
    0
}

#[inline(always)]
fn on_switch(
    ctx: &RawTracePointContext,
    preempt: bool,
    previous: u64,
    next: u64,
    state: u32,
) -> Option<()> {
    let now = now_ns();
    let last = SWITCHED.get_ptr_mut(0)?;
    // SAFETY: this CPU's own map value, and interrupts are off in a switch.
    let last = unsafe { &mut *last };
    let unit = unit_of_current();
    if last.waited_ns != 0 {
        add(&RUN_QUEUE, unit, last.waited_ns - 1);
    } else if unit != OTHER && last.at_ns != 0 {
        lose(|losses| &mut losses.run_queue);
    }
    if last.victim != 0 {
        let victim = last.victim as u32 - 1;
        if let Some(preemptions) = PREEMPTIONS.get_ptr_mut(pair(victim, unit)) {
            // SAFETY: a live map value, whose fields are only ever added to.
            let preemptions = unsafe { &mut *preemptions };
            fetch_increment(&mut preemptions.count);
            fetch_add(&mut preemptions.ran_ns, now.wrapping_sub(last.at_ns));
        }
    }
    if unit != OTHER {
        trace::tell_stay(unit, last, now, preempt || state == 0);
    }
    last.victim = 0;
    // `TASK_RUNNING` is 0; a task that the kernel itself preempted may have another state and goes on all the same.
    if preempt || state == 0 {
        // The idle task can always go on, and waits for nothing.
        if unit != OTHER || bpf_get_current_pid_tgid() as u32 != 0 {
            begin_wait(previous, now);
        }
        if unit != OTHER {
            last.victim = unit as u64 + 1;
        }
    } else if unit != OTHER {
        off_cpu::begin(ctx, previous, unit, state, now);
    }
    last.at_ns = now;
    last.waited_ns = 0;
    let waiting = WAITING.get_ptr_mut(place_of(next))?;
    // SAFETY: a live map value. Another CPU may overwrite it meanwhile, with another task's: see `begin_wait`.
    let waiting = unsafe { &mut *waiting };
    if waiting.task == next {
        last.waited_ns = now.saturating_sub(waiting.since_ns) + 1;
        waiting.task = 0;
        let _ = off_cpu::end(next, waiting.since_ns);
    }
    Some(())
}

/// Two CPUs may write the same place at once: then a wait is lost, or has the other's beginning, which is as good as the same time.
#[inline(always)]
fn begin_wait(task: u64, now_ns: u64) {
    if let Some(waiting) = WAITING.get_ptr_mut(place_of(task)) {
        // SAFETY: a live map value.
        let waiting = unsafe { &mut *waiting };
        waiting.since_ns = now_ns;
        waiting.task = task;
    }
}
