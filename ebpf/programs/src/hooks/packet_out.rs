//! Packets that leave from a unit: `sched_cls` at the egress of every interface, by a tcx link (6.6) or as a filter of
//! `clsact` (the filter outlives its process; the lease ends its faults).

use aya_ebpf::{helpers::generated::bpf_redirect, macros::classifier, programs::TcContext};

use observastack_abi::rule::fault;

use crate::{mtu_blackhole, packet, packet_loss, passing::Passing, slow_receiver};

/// The faults that act here.
const FAULTS: u32 = 1 << fault::PACKET_LOSS | 1 << fault::MTU_BLACKHOLE | 1 << fault::SLOW_RECEIVER;

/// The next program goes on (`TC_ACT_UNSPEC`, `TCX_NEXT`).
const NEXT: i32 = -1;
/// No interface has this index.
const NOWHERE: u32 = 0;

/// Decides on one packet that a socket below the slice sends.
#[classifier]
pub fn packet_out(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    let Some(passing) = Passing::outgoing(skb, FAULTS, packet::unit_of) else {
        return NEXT;
    };
    if packet_loss::drops(&passing) || mtu_blackhole::drops(&passing) {
        // The sender's own machine must not notice: SHOT is an error to it, tcx knows no STOLEN. A packet that is sent on
        // to nowhere is freed, and counts as sent.
        // SAFETY: the helper only notes where the packet goes.
        return unsafe { bpf_redirect(NOWHERE, 0) } as i32;
    }
    slow_receiver::shrink(skb, &passing);
    NEXT
}
