//! `latency`: a packet gets a later departure time, and the `fq` queue of its interface keeps it until then (earliest
//! departure time).
//!
//! Needs a write to `tstamp` in `cgroup_skb` (5.2) and `fq` at the interface. A packet that has a departure time already,
//! from TCP's pacing or another rule, is delayed from there on, but never to later than the queue keeps it.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_ns, macros::map, maps::Array};
use observastack_abi::{
    counts::RuleCounts,
    departure, jitter,
    latency::LatencyRule,
    rule::{MAX_RULES, fault},
};

use crate::{passing::Passing, rule::any};

#[map]
static LATENCY_RULES: Array<LatencyRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static LATENCY_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// Puts the packet's departure off, by every rule that covers it.
#[inline(always)]
pub(crate) fn delay(skb: *mut __sk_buff, passing: &Passing) {
    any(
        passing.unit,
        passing.active(fault::LATENCY),
        &LATENCY_RULES,
        &LATENCY_COUNTS,
        |rule| &rule.head,
        |rule, counts| {
            if let Some(n) = passing.decide(&rule.head, &rule.filter, counts) {
                let delay_ns = observastack_delay(
                    u32::from(rule.distribution),
                    rule.head.seed,
                    n,
                    rule.delay_ns,
                    rule.jitter_ns,
                );
                put_off(skb, delay_ns);
            }
            false
        },
    );
}

/// The delay of packet number `n`. A global function to the kernel: verified once by itself, and not its loops again for each
/// place that it is called from.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn observastack_delay(
    distribution: u32,
    seed: u64,
    n: u64,
    delay_ns: u64,
    jitter_ns: u64,
) -> u64 {
    jitter::delay_of(distribution as u8, seed, n, delay_ns, jitter_ns)
}

/// Makes a packet leave so much later.
#[inline(always)]
fn put_off(skb: *mut __sk_buff, by_ns: u64) {
    // SAFETY: the context is the program's own, and both fields are open to `cgroup_skb` programs.
    unsafe {
        let now_ns = bpf_ktime_get_ns();
        let planned_ns = (*skb).tstamp;
        let from_ns = if planned_ns > now_ns {
            planned_ns
        } else {
            now_ns
        };
        (*skb).tstamp = departure::at(from_ns + by_ns, now_ns);
    }
}
