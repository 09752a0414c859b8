//! `connect-error`: a unit's `connect(2)` on an IPv4 or IPv6 socket fails with a chosen errno.
//!
//! Needs `bpf_set_retval` for `cgroup/connect4` and `connect6` (5.18).

use aya_ebpf::{
    helpers::{bpf_get_current_cgroup_id, bpf_set_retval},
    macros::{cgroup_sock_addr, map},
    maps::Array,
    programs::SockAddrContext,
};
use observastack_abi::{
    connect_error::ConnectErrorRule,
    counts::RuleCounts,
    rule::{MAX_RULES, RULES_PER_UNIT, slot_index},
};

use crate::{rule::decide, units};

const ALLOW: i32 = 1;
const REFUSE: i32 = 0;

#[map]
static CONNECT_ERROR_RULES: Array<ConnectErrorRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static CONNECT_ERROR_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// Decides on one `connect` of an `AF_INET` socket below the slice.
#[cgroup_sock_addr(connect4)]
pub fn connect_error4(ctx: SockAddrContext) -> i32 {
    connect_error(&ctx)
}

/// Decides on one `connect` of an `AF_INET6` socket below the slice.
#[cgroup_sock_addr(connect6)]
pub fn connect_error6(ctx: SockAddrContext) -> i32 {
    connect_error(&ctx)
}

#[inline(always)]
fn connect_error(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the helper takes no arguments; the hook runs in the caller's context.
    let cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    let Some(unit) = units::index_of(cgroup_id) else {
        return ALLOW;
    };
    // SAFETY: the context is the program's own; `user_port` holds the destination in network order, in its low half.
    let port = u16::from_be(unsafe { (*ctx.sock_addr).user_port } as u16);
    for slot in 0..RULES_PER_UNIT {
        let index = slot_index(unit, slot);
        let (Some(rule), Some(counts)) = (
            CONNECT_ERROR_RULES.get(index),
            CONNECT_ERROR_COUNTS.get_ptr_mut(index),
        ) else {
            return ALLOW;
        };
        if rule.head.id == 0 || (rule.port != 0 && rule.port != port) {
            continue;
        }
        if decide(ctx, &rule.head, counts, "connect", port) {
            // SAFETY: the helper only stores the value for the hook's caller.
            unsafe { bpf_set_retval(rule.retval) };
            return REFUSE;
        }
    }
    ALLOW
}
