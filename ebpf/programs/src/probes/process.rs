//! Programs that are executed, and processes that end: by themselves, by a signal, or killed for want of memory.

use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_current_task},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{
    OTHER,
    event::{COMM_LEN, Event, kind},
};

use super::{count, now_ns, offsets, tell, unit_of_current};
use crate::units::read;

/// A task executes a program.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(_ctx: RawTracePointContext) -> i32 {
    let unit = unit_of_current();
    count(unit, |counters| counters.execs += 1);
    tell_process(unit, kind::EXEC, 0);
    0
}

/// A task ends, and is still the current one. Arguments: `p`.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    let _ = on_exit(ctx.arg(0));
    0
}

#[inline(always)]
fn on_exit(task: *const u8) -> Option<()> {
    let offsets = offsets();
    let signal: *const u8 = read(task, offsets.task_signal)?;
    // The last thread of its process ends the process.
    if read::<i32>(signal, offsets.signal_live)? != 0 {
        return None;
    }
    let status: i32 = read(task, offsets.task_exit_code)?;
    let victim: u64 = read(signal, offsets.signal_oom)?;
    let unit = unit_of_current();
    count(unit, |counters| {
        counters.exits += 1;
        if status & 0x7f != 0 {
            counters.exits_by_signal += 1;
        }
        if victim != 0 {
            counters.oom_kills += 1;
        }
    });
    let kind = if victim != 0 {
        kind::OOM_KILL
    } else {
        kind::EXIT
    };
    tell_process(unit, kind, status);
    Some(())
}

/// The name of the process's first thread: whichever thread is the last to end has a name of its own.
#[inline(always)]
fn name_of_process() -> Option<[u8; COMM_LEN]> {
    let offsets = offsets();
    // SAFETY: the helper takes no arguments and has no preconditions.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let leader: *const u8 = read(task, offsets.task_leader)?;
    read(leader, offsets.task_comm)
}

#[inline(always)]
fn tell_process(unit: u32, kind: u32, code: i32) {
    if unit == OTHER {
        return;
    }
    tell(&Event {
        at_ns: now_ns(),
        kind,
        unit,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        code,
        local_port: 0,
        remote_port: 0,
        _reserved: 0,
        comm: name_of_process().unwrap_or([0; COMM_LEN]),
    });
}
