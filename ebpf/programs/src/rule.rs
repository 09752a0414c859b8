//! What happens to one event under one rule: it is counted, numbered and decided.

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_ns};
use aya_log_ebpf::debug;
use observastack_abi::{
    counts::RuleCounts,
    decision::is_faulted,
    rule::{FLAG_VERBOSE, LOG_INTERVAL_NS, RuleHead},
};

use crate::{atomic::fetch_increment, lease};

/// Counts and decides an event that a rule covers; true means: fault it.
///
/// `event` names the event in a verbose rule's log (`packet`, `connect`), `port` is the one that it was matched by.
#[inline(always)]
pub(crate) fn decide<C: EbpfContext>(
    ctx: &C,
    head: &RuleHead,
    counts: *mut RuleCounts,
    event: &str,
    port: u16,
) -> bool {
    // SAFETY: the helper takes no arguments and has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    if now_ns >= head.end_ns {
        return false;
    }
    // SAFETY: `counts` points into a live map value; only the field's address is taken.
    let (matched, injected, skipped) = unsafe {
        (
            &raw mut (*counts).matched,
            &raw mut (*counts).injected,
            &raw mut (*counts).skipped,
        )
    };
    if !lease::holds(now_ns) {
        fetch_increment(skipped);
        return false;
    }
    let n = fetch_increment(matched);
    let faulted = is_faulted(head.seed, n, head.threshold);
    if faulted {
        fetch_increment(injected);
    }
    if head.flags & FLAG_VERBOSE != 0 && may_log(counts, faulted, now_ns) {
        debug!(
            ctx,
            "fault={} event={} n={} port={} faulted={}", head.id, event, n, port, faulted as u8
        );
    }
    faulted
}

/// Takes the rule's turn to log a decision of this kind, at most once in [`LOG_INTERVAL_NS`]. Two CPUs may both win a turn:
/// that is one line more.
#[inline(always)]
fn may_log(counts: *mut RuleCounts, faulted: bool, now_ns: u64) -> bool {
    // SAFETY: `counts` points into a live map value; a torn value only shifts the next turn.
    unsafe {
        let logged_ns = if faulted {
            &raw mut (*counts).logged_fault_ns
        } else {
            &raw mut (*counts).logged_ns
        };
        if now_ns.wrapping_sub(*logged_ns) < LOG_INTERVAL_NS {
            return false;
        }
        *logged_ns = now_ns;
    }
    true
}
