//! When packets leave: `cgroup_skb` at egress. At a target slice for packets from a unit; at the root of the hierarchy for
//! packets of this machine's own processes to a unit, because a packet's time can only be set where it leaves.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock_tuple},
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
    let Some(unit) = packet::unit_of(skb) else {
        return PASS;
    };
    set_time(skb, &Passing::outgoing(unit, skb, FAULTS))
}

/// Decides when one packet leaves that any process of this machine sends to a unit's socket.
#[cgroup_skb]
pub fn packet_time_in(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    let Some(unit) = receiver_of(skb) else {
        return PASS;
    };
    set_time(skb, &Passing::incoming(unit, skb, FAULTS))
}

#[inline(always)]
fn set_time(skb: *mut __sk_buff, passing: &Passing) -> i32 {
    if bandwidth::overflows(skb, passing) {
        return DROP;
    }
    latency::delay(skb, passing);
    PASS
}

/// The unit whose socket on this machine a packet will reach.
#[inline(always)]
fn receiver_of(skb: *mut __sk_buff) -> Option<u32> {
    let first = packet::load::<1>(skb, 0)?[0];
    if first >> 4 == 4 {
        let ip = packet::load::<20>(skb, 0)?;
        let ports = packet::load::<4>(skb, u32::from(first & 0x0f) * 4)?;
        let mut tuple = [0u8; 12];
        tuple[..8].copy_from_slice(&ip[12..20]);
        tuple[8..].copy_from_slice(&ports);
        unit_at(skb, ip[9], &mut tuple)
    } else {
        let ip = packet::load::<40>(skb, 0)?;
        let ports = packet::load::<4>(skb, 40)?;
        let mut tuple = [0u8; 36];
        tuple[..32].copy_from_slice(&ip[8..40]);
        tuple[32..].copy_from_slice(&ports);
        unit_at(skb, ip[6], &mut tuple)
    }
}

/// Finds the socket that packets with these addresses and ports go to.
#[inline(always)]
fn unit_at<const LEN: usize>(
    skb: *mut __sk_buff,
    protocol: u8,
    tuple: &mut [u8; LEN],
) -> Option<u32> {
    let at = tuple.as_mut_ptr().cast::<bpf_sock_tuple>();
    // SAFETY: the tuple has the length that the helper is told; the verifier checks that the socket is released.
    let cgroup_id = unsafe {
        let socket = match protocol {
            TCP => bpf_sk_lookup_tcp(skb.cast(), at, LEN as u32, CURRENT_NAMESPACE, 0),
            UDP => bpf_sk_lookup_udp(skb.cast(), at, LEN as u32, CURRENT_NAMESPACE, 0),
            _ => return None,
        };
        if socket.is_null() {
            return None;
        }
        let cgroup_id = bpf_sk_cgroup_id(socket.cast());
        bpf_sk_release(socket.cast());
        cgroup_id
    };
    units::index_of(cgroup_id)
}
