//! `packet-loss`: packets that arrive at a unit's sockets vanish without a word, like on a bad wire.
//!
//! It acts at ingress on purpose: a drop at a cgroup's egress is a local error to TCP (12 drops, 1 retransmission).
//! Needs `cgroup_skb` with `bpf_skb_cgroup_id` (4.18).

use aya_ebpf::{
    helpers::generated::bpf_skb_cgroup_id,
    macros::{cgroup_skb, map},
    maps::Array,
    programs::SkBuffContext,
};
use observastack_abi::{
    counts::RuleCounts,
    packet_loss::PacketLossRule,
    rule::{MAX_RULES, RULES_PER_UNIT, slot_index},
};

use crate::{rule::decide, units};

const PASS: i32 = 1;
const DROP: i32 = 0;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

#[map]
static PACKET_LOSS_RULES: Array<PacketLossRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static PACKET_LOSS_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// Decides on one packet that arrives at a socket below the slice.
#[cgroup_skb]
pub fn packet_loss(ctx: SkBuffContext) -> i32 {
    // SAFETY: the context is the program's own; the helper reads the receiving socket's cgroup.
    let cgroup_id = unsafe { bpf_skb_cgroup_id(ctx.skb.skb) };
    let Some(unit) = units::index_of(cgroup_id) else {
        return PASS;
    };
    let mut ports = None;
    for slot in 0..RULES_PER_UNIT {
        let index = slot_index(unit, slot);
        let (Some(rule), Some(counts)) = (
            PACKET_LOSS_RULES.get(index),
            PACKET_LOSS_COUNTS.get_ptr_mut(index),
        ) else {
            return PASS;
        };
        if rule.head.id == 0 {
            continue;
        }
        if rule.port != 0 {
            // Packets are parsed once, and only when a rule asks for a port.
            let (source, destination) = *ports.get_or_insert_with(|| ports_of(&ctx));
            if rule.port != source && rule.port != destination {
                continue;
            }
        }
        if decide(&ctx, &rule.head, counts, "packet", rule.port) {
            return DROP;
        }
    }
    PASS
}

/// Source and destination port of a TCP or UDP packet in host order; zeros for anything else.
///
/// A fragment but the first has no ports, nor has IPv6 behind extension headers, which the lab's services don't use.
#[inline(always)]
fn ports_of(ctx: &SkBuffContext) -> (u16, u16) {
    let Ok(first) = ctx.load::<u8>(0) else {
        return (0, 0);
    };
    let (protocol, transport) = match first >> 4 {
        4 => {
            let fragment_offset = ctx.load::<u16>(6).map_or(u16::MAX, u16::from_be) & 0x1fff;
            if fragment_offset != 0 {
                return (0, 0);
            }
            (
                ctx.load::<u8>(9).unwrap_or(0),
                usize::from(first & 0x0f) * 4,
            )
        }
        6 => (ctx.load::<u8>(6).unwrap_or(0), 40),
        _ => return (0, 0),
    };
    if protocol != IPPROTO_TCP && protocol != IPPROTO_UDP {
        return (0, 0);
    }
    let port_at = |offset| ctx.load::<u16>(offset).map_or(0, u16::from_be);
    (port_at(transport), port_at(transport + 2))
}
