//! When packets leave: `cgroup_skb` at egress. At a target slice for packets from a unit; at the root of the hierarchy for
//! packets of this machine's own processes to a unit, because a packet's time can only be set where it leaves.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_sk_cgroup_id, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use observastack_abi::{
    packet::{TCP, UDP},
    rule::fault,
};

use crate::{bandwidth, latency, packet, passing::Passing, units};

/// The faults that act here.
const FAULTS: u32 = 1 << fault::BANDWIDTH | 1 << fault::LATENCY;

const PASS: i32 = 1;
/// Not sent, and the sender is told, as by a queue that is full.
const DROP: i32 = 0;
/// In this network namespace (`BPF_F_CURRENT_NETNS`).
const CURRENT_NAMESPACE: u64 = u64::MAX;

/// Decides when one packet leaves that a socket below the slice sends.
#[cgroup_skb]
pub fn packet_time_out(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    set_time(skb, Passing::outgoing(skb, FAULTS, packet::unit_of))
}

/// Decides when one packet leaves that any process of this machine sends to a unit's socket.
#[cgroup_skb]
pub fn packet_time_in(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    set_time(skb, Passing::incoming(skb, FAULTS, receiver_of))
}

#[inline(always)]
fn set_time(skb: *mut __sk_buff, passing: Option<Passing>) -> i32 {
    let Some(passing) = passing else {
        return PASS;
    };
    if bandwidth::overflows(skb, &passing) {
        return DROP;
    }
    latency::delay(skb, &passing);
    PASS
}

/// The unit whose socket on this machine a packet will reach.
#[inline(always)]
fn receiver_of(skb: *mut __sk_buff) -> Option<u32> {
    let cgroup_id = packet::with_tuple(skb, |protocol, tuple, length| {
        // SAFETY: the tuple has the length that the helper is told; the verifier checks that the socket is released.
        unsafe {
            let socket = match protocol {
                TCP => bpf_sk_lookup_tcp(skb.cast(), tuple, length, CURRENT_NAMESPACE, 0),
                UDP => bpf_sk_lookup_udp(skb.cast(), tuple, length, CURRENT_NAMESPACE, 0),
                _ => return None,
            };
            if socket.is_null() {
                return None;
            }
            let cgroup_id = bpf_sk_cgroup_id(socket.cast());
            bpf_sk_release(socket.cast());
            Some(cgroup_id)
        }
    })?;
    units::index_of(cgroup_id)
}
