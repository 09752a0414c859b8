//! System calls of units that were asked for: how many of each, with which errno, and how long they took.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, raw_tracepoint},
    maps::{Array, PerCpuHashMap},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{
    histogram::Histogram,
    off_cpu::NO_CALL,
    syscalls::{CALL_PLACES, Entered, MAX_SERIES, Series, failed, place_of},
    trace::flag,
    wanted::{COUNT_SYSCALLS, OFF_CPU},
};

use super::{
    ON_DEMAND, add_to, count_in, lose, now_ns,
    trace::{self, wanted},
    unit_of_current,
};

/// Whose calls are looked at.
const ASKED_FOR: u32 = COUNT_SYSCALLS | OFF_CPU | flag::SYSCALLS;
/// Highest errno (`include/linux/err.h`).
const MAX_ERRNO: i64 = 4095;

/// How long calls took.
#[map]
static SYSCALLS: PerCpuHashMap<Series, Histogram> =
    PerCpuHashMap::with_max_entries(MAX_SERIES, ON_DEMAND);
/// How many failed, by number and errno.
#[map]
static SYSCALL_ERRORS: PerCpuHashMap<Series, u64> =
    PerCpuHashMap::with_max_entries(MAX_SERIES, ON_DEMAND);
/// Calls on their way.
#[map]
static CALLS: Array<Entered> = Array::with_max_entries(CALL_PLACES, 0);

/// Arguments: `regs`, `id`.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    let _ = on_enter(ctx.arg::<u64>(1) as u32);
    0
}

/// Arguments: `regs`, `ret`.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let _ = on_exit(ctx.arg(0), ctx.arg(1));
    0
}

/// The call that the current task is in, of a unit that is asked for.
#[inline(always)]
pub(super) fn current() -> u32 {
    let thread = bpf_get_current_pid_tgid();
    match CALLS.get(place_of(thread)) {
        Some(call) if call.thread == thread => call.number,
        _ => NO_CALL,
    }
}

#[inline(always)]
fn on_enter(number: u32) -> Option<()> {
    let unit = unit_of_current();
    if wanted(unit, ASKED_FOR) == 0 {
        return None;
    }
    let thread = bpf_get_current_pid_tgid();
    let call = CALLS.get_ptr_mut(place_of(thread))?;
    // SAFETY: a live map value; whoever overwrites it meanwhile leaves its own thread in it, which is looked at.
    unsafe {
        (*call).at_ns = now_ns();
        (*call).number = number;
        (*call).unit = unit;
        (*call).thread = thread;
    }
    Some(())
}

#[inline(always)]
fn on_exit(registers: *const u8, returned: i64) -> Option<()> {
    let unit = unit_of_current();
    let wanted = wanted(unit, ASKED_FOR);
    if wanted == 0 {
        return None;
    }
    let thread = bpf_get_current_pid_tgid();
    let call = CALLS.get_ptr_mut(place_of(thread))?;
    // SAFETY: a live map value.
    let entered = unsafe { *call };
    if entered.thread != thread {
        // Entered before this was switched on, or overwritten.
        lose(|losses| &mut losses.beginnings);
        return None;
    }
    // SAFETY: as above.
    unsafe { (*call).thread = 0 };
    let took_ns = now_ns().saturating_sub(entered.at_ns);
    if wanted & flag::SYSCALLS != 0 {
        trace::tell_syscall(registers, &entered, returned, took_ns);
    }
    if wanted & COUNT_SYSCALLS == 0 {
        return None;
    }
    let series = Series {
        unit,
        call: entered.number,
    };
    add_to(&SYSCALLS, series, took_ns);
    if (-MAX_ERRNO..0).contains(&returned) {
        let call = failed(entered.number, -returned as u32);
        count_in(&SYSCALL_ERRORS, Series { unit, call });
    }
    Some(())
}
