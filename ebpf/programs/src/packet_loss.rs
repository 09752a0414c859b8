//! `packet-loss` and `blackhole`: packets vanish without a word, like on a bad wire.
//!
//! Incoming ones go at the ingress of the receiver's cgroup. Outgoing ones go at the interface: a drop at a cgroup's egress
//! is a local error to TCP (12 drops, 1 retransmission), and so is one that the interface's queue reports.

use aya_ebpf::{macros::map, maps::Array};
use observastack_abi::{
    counts::RuleCounts,
    packet_loss::PacketLossRule,
    rule::{MAX_RULES, fault},
};

use crate::{passing::Passing, rule::any};

#[map]
static PACKET_LOSS_RULES: Array<PacketLossRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static PACKET_LOSS_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// Whether the packet is to vanish.
#[inline(always)]
pub(crate) fn drops(passing: &Passing) -> bool {
    any(
        passing.unit,
        passing.active(fault::PACKET_LOSS),
        &PACKET_LOSS_RULES,
        &PACKET_LOSS_COUNTS,
        |rule| &rule.head,
        |rule, counts| passing.decide(&rule.head, &rule.filter, counts).is_some(),
    )
}
