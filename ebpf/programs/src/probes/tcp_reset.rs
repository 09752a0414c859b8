//! TCP resets, sent and received.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use observastack_abi::telemetry::{
    OTHER,
    event::{COMM_LEN, Event, kind},
};

use super::{count, now_ns, offsets, tell, unit_of_socket};
use crate::units::read;

/// A reset is sent; without a socket where nobody listens. Arguments: `sk`, `skb`.
#[raw_tracepoint(tracepoint = "tcp_send_reset")]
pub fn tcp_send_reset(ctx: RawTracePointContext) -> i32 {
    let socket = ctx.arg(0);
    let unit = unit_of_socket(socket);
    count(unit, |counters| counters.resets_sent += 1);
    tell_reset(socket, unit, kind::RESET_SENT);
    0
}

/// A reset has arrived at a socket. Arguments: `sk`.
#[raw_tracepoint(tracepoint = "tcp_receive_reset")]
pub fn tcp_receive_reset(ctx: RawTracePointContext) -> i32 {
    let socket = ctx.arg(0);
    let unit = unit_of_socket(socket);
    count(unit, |counters| counters.resets_received += 1);
    tell_reset(socket, unit, kind::RESET_RECEIVED);
    0
}

#[inline(always)]
fn tell_reset(socket: *const u8, unit: u32, kind: u32) {
    if unit == OTHER {
        return;
    }
    let offsets = offsets();
    tell(&Event {
        at_ns: now_ns(),
        kind,
        unit,
        pid: 0,
        code: 0,
        local_port: read(socket, offsets.sock_port).unwrap_or(0),
        remote_port: u16::from_be(read(socket, offsets.sock_peer_port).unwrap_or(0)),
        _reserved: 0,
        comm: [0; COMM_LEN],
    });
}
