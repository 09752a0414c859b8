//! `connect-error`: a unit's `connect(2)` on an IPv4 or IPv6 socket fails with a chosen errno.

use aya_ebpf::{macros::map, maps::Array};
use observastack_abi::{
    connect_error::ConnectErrorRule,
    counts::RuleCounts,
    packet::Packet,
    rule::{ActiveSlots, MAX_RULES, fault},
};

use crate::{
    clock::about_ns,
    rule::{any, decide, errno, event},
};

#[map]
static CONNECT_ERROR_RULES: Array<ConnectErrorRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static CONNECT_ERROR_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// The negative errno that the call is to fail with, or 0. `wanted` has the destination.
#[inline(always)]
pub(crate) fn retval(unit: u32, active: &ActiveSlots, wanted: &Packet) -> i32 {
    let mut retval = 0;
    any(
        unit,
        active.of[fault::CONNECT_ERROR],
        &CONNECT_ERROR_RULES,
        &CONNECT_ERROR_COUNTS,
        |rule| &rule.head,
        |rule, counts| {
            let is_faulted = rule.filter.matches(wanted)
                && decide(
                    &rule.head,
                    counts,
                    about_ns,
                    event::CONNECT,
                    wanted.destination_port,
                )
                .is_some();
            if is_faulted {
                retval = errno(rule.retval);
            }
            is_faulted
        },
    );
    retval
}
