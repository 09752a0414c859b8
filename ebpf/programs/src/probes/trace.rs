//! Events of units that are traced, one by one.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{map, raw_tracepoint},
    maps::{Array, RingBuf},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{
    OTHER, UNITS,
    event::COMM_LEN,
    run_queue::Switched,
    syscalls::Entered,
    trace::{ARGUMENTS, Traced, flag, kind},
};

use super::{lose, now_ns, offsets, unit_of_socket};
use crate::units::read;

/// `AF_INET` and `AF_INET6`.
const INET: u16 = 2;
const INET6: u16 = 10;

/// What is wanted of each unit on demand.
#[map]
static WANTED: Array<u32> = Array::with_max_entries(UNITS, 0);
/// Events of traced units.
#[map]
static TRACED: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Which of these are wanted of a unit.
#[inline(always)]
pub(super) fn wanted(unit: u32, flags: u32) -> u32 {
    match WANTED.get(unit) {
        Some(wanted) => *wanted & flags,
        None => 0,
    }
}

#[inline(always)]
fn tell(traced: &Traced) {
    if TRACED.output::<Traced>(traced, 0).is_err() {
        lose(|losses| &mut losses.traced);
    }
}

/// What is the same for every event of the current task.
#[inline(always)]
fn of_current(unit: u32, kind: u32) -> Traced {
    let thread = bpf_get_current_pid_tgid();
    Traced {
        at_ns: now_ns(),
        unit,
        kind,
        process: (thread >> 32) as u32,
        thread: thread as u32,
        comm: bpf_get_current_comm().unwrap_or([0; COMM_LEN]),
        ..Traced::default()
    }
}

/// A system call has ended.
#[inline(always)]
pub(super) fn tell_syscall(registers: *const u8, entered: &Entered, returned: i64, took_ns: u64) {
    let offsets = offsets();
    let mut traced = of_current(entered.unit, kind::SYSCALL);
    traced.what = entered.number;
    traced.value = returned;
    traced.duration_ns = took_ns;
    let mut arguments = [0; ARGUMENTS];
    for (argument, offset) in arguments.iter_mut().zip(offsets.call_arguments) {
        *argument = read(registers, offset).unwrap_or(0);
    }
    traced.arguments = arguments;
    tell(&traced);
}

/// The current task is about to leave its CPU.
#[inline(always)]
pub(super) fn tell_stay(unit: u32, last: &Switched, now_ns: u64, could_go_on: bool) {
    if wanted(unit, flag::SCHED) == 0 {
        return;
    }
    let mut traced = of_current(unit, kind::SCHED);
    traced.at_ns = now_ns;
    traced.duration_ns = now_ns.saturating_sub(last.at_ns);
    // One more than it is, and 0 where it is not known.
    traced.value = last.waited_ns as i64 - 1;
    traced.what = could_go_on as u32;
    tell(&traced);
}

/// A socket changes its state. Arguments: `sk`, `oldstate`, `newstate`.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn trace_tcp_state(ctx: RawTracePointContext) -> i32 {
    let states = (ctx.arg::<u64>(1) as u32) << 8 | ctx.arg::<u64>(2) as u32 & 0xff;
    tell_socket(ctx.arg(0), kind::TCP_STATE, states);
    0
}

/// A segment is sent again. Arguments: `sk`, `skb`.
#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
pub fn trace_tcp_retransmit(ctx: RawTracePointContext) -> i32 {
    tell_socket(ctx.arg(0), kind::TCP_RETRANSMIT, 0);
    0
}

/// A reset is sent. Arguments: `sk`, `skb`.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn trace_tcp_send_reset(ctx: RawTracePointContext) -> i32 {
    tell_socket(ctx.arg(0), kind::TCP_RESET_SENT, 0);
    0
}

/// A reset has arrived. Arguments: `sk`.
#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn trace_tcp_receive_reset(ctx: RawTracePointContext) -> i32 {
    tell_socket(ctx.arg(0), kind::TCP_RESET_RECEIVED, 0);
    0
}

/// An event of a socket, which is its unit's, whoever is the current task.
#[inline(always)]
fn tell_socket(socket: *const u8, kind: u32, what: u32) {
    let unit = unit_of_socket(socket);
    if unit == OTHER || wanted(unit, flag::TCP) == 0 {
        return;
    }
    let offsets = offsets();
    let mut traced = Traced {
        at_ns: now_ns(),
        unit,
        kind,
        what,
        family: read(socket, offsets.sock_family).unwrap_or(0),
        local_port: read(socket, offsets.sock_port).unwrap_or(0),
        remote_port: u16::from_be(read(socket, offsets.sock_peer_port).unwrap_or(0)),
        ..Traced::default()
    };
    match traced.family {
        INET => {
            let local: [u8; 4] = read(socket, offsets.sock_address).unwrap_or([0; 4]);
            let remote: [u8; 4] = read(socket, offsets.sock_peer_address).unwrap_or([0; 4]);
            traced.local_address[..4].copy_from_slice(&local);
            traced.remote_address[..4].copy_from_slice(&remote);
        }
        INET6 => {
            traced.local_address = read(socket, offsets.sock_address6).unwrap_or([0; 16]);
            traced.remote_address = read(socket, offsets.sock_peer_address6).unwrap_or([0; 16]);
        }
        _ => {}
    }
    tell(&traced);
}
