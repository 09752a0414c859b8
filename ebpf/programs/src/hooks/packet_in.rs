//! Packets that arrive at a unit: `cgroup_skb` at a target slice's ingress, with `bpf_skb_cgroup_id` (4.18).

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};

use observastack_abi::rule::fault;

use crate::{mtu_blackhole, packet, packet_loss, passing::Passing};

/// The faults that act here.
const FAULTS: u32 = 1 << fault::PACKET_LOSS | 1 << fault::MTU_BLACKHOLE;

const PASS: i32 = 1;
const DROP: i32 = 0;

/// Decides on one packet that arrives at a socket below the slice.
#[cgroup_skb]
pub fn packet_in(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    let Some(passing) = Passing::incoming(skb, FAULTS, packet::unit_of) else {
        return PASS;
    };
    if packet_loss::drops(&passing) || mtu_blackhole::drops(&passing) {
        DROP
    } else {
        PASS
    }
}
