//! How long TCP connections take to be made, as the one who asks for them sees it, and how many are not.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::{HashMap, PerCpuArray},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{UNITS, histogram::Histogram};

use super::{add, count, lose, now_ns, unit_of_socket};

/// Connections that are being made, at once.
const CONNECTING: u32 = 8192;

/// `enum` in `include/net/tcp_states.h`.
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;

/// From the first SYN to the answer, by unit.
#[map]
static TCP_CONNECT: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(UNITS, 0);
/// When the first SYN was about to be sent, by socket.
#[map]
static CONNECTS: HashMap<u64, u64> = HashMap::with_max_entries(CONNECTING, 0);

/// A socket changes its state. Arguments: `sk`, `oldstate`, `newstate`.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: RawTracePointContext) -> i32 {
    let socket: u64 = ctx.arg(0);
    let (old, new) = (ctx.arg::<u64>(1) as u32, ctx.arg::<u64>(2) as u32);
    if new == SYN_SENT {
        if CONNECTS.insert(socket, now_ns(), 0).is_err() {
            lose(|losses| &mut losses.beginnings);
        }
    } else if old == SYN_SENT {
        on_end(socket, new);
    }
    0
}

#[inline(always)]
fn on_end(socket: u64, state: u32) {
    // SAFETY: the value is copied at once.
    let begun = unsafe { CONNECTS.get(socket) }.copied();
    let Some(begun_ns) = begun else {
        return;
    };
    let _ = CONNECTS.remove(socket);
    let unit = unit_of_socket(socket as *const u8);
    if state == ESTABLISHED {
        add(&TCP_CONNECT, unit, now_ns().saturating_sub(begun_ns));
    } else {
        count(unit, |counters| counters.connect_failures += 1);
    }
}
