//! `signal`: a process of the unit gets a signal when it makes a system call.
//!
//! At the raw tracepoint of every system call's start, with `bpf_send_signal` (5.3): the signal is delivered before the
//! process returns to its own code.

use aya_ebpf::{helpers::generated::bpf_send_signal, macros::map, maps::Array};
use observastack_abi::{
    counts::RuleCounts,
    rule::{ActiveSlots, MAX_RULES, fault},
    signal::SignalRule,
};

use crate::{
    clock::exact_ns,
    rule::{any, decide, event},
};

#[map]
static SIGNAL_RULES: Array<SignalRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static SIGNAL_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// Sends what rules ask for at this system call.
#[inline(always)]
pub(crate) fn send(unit: u32, active: &ActiveSlots, syscall: u32) {
    any(
        unit,
        active.of[fault::SIGNAL],
        &SIGNAL_RULES,
        &SIGNAL_COUNTS,
        |rule| &rule.head,
        |rule, counts| {
            if rule.syscall == syscall
                && decide(&rule.head, counts, exact_ns, event::SYSCALL, syscall as u16).is_some()
            {
                // SAFETY: the helper sends to the process that is running, with any number.
                unsafe { bpf_send_signal(rule.signal) };
            }
            false
        },
    );
}
