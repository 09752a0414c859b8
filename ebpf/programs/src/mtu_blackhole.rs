//! `mtu-blackhole`: packets that are larger than a link further on would take vanish, and no ICMP message tells the sender.
//!
//! A packet that the kernel has yet to cut into segments counts as large as its segments will be.

use aya_ebpf::{macros::map, maps::Array};
use observastack_abi::{
    counts::RuleCounts,
    mtu_blackhole::MtuBlackholeRule,
    rule::{MAX_RULES, fault},
};

use crate::{passing::Passing, rule::any};

#[map]
static MTU_BLACKHOLE_RULES: Array<MtuBlackholeRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static MTU_BLACKHOLE_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// Whether the packet is to vanish. Only packets that are too large are events.
#[inline(always)]
pub(crate) fn drops(passing: &Passing) -> bool {
    any(
        passing.unit,
        passing.active(fault::MTU_BLACKHOLE),
        &MTU_BLACKHOLE_RULES,
        &MTU_BLACKHOLE_COUNTS,
        |rule| &rule.head,
        |rule, counts| {
            passing.packet.wire_len > rule.mtu
                && passing.decide(&rule.head, &rule.filter, counts).is_some()
        },
    )
}
