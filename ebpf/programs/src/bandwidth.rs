//! `bandwidth`: packets leave one after the other at a rate, by their departure times.
//!
//! Needs what `latency` needs. The rule keeps the time at which the link is free again; each packet takes it and moves it
//! by its own length. Under load that is one atomic addition, so CPUs share the rate exactly.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_ktime_get_ns, macros::map, maps::Array};
use observastack_abi::{
    bandwidth::{BandwidthRule, LONGEST_QUEUE_NS, time_of},
    counts::RuleCounts,
    departure,
    rule::{MAX_RULES, fault},
};

use crate::{atomic::fetch_add, passing::Passing, rule::any};

#[map]
static BANDWIDTH_RULES: Array<BandwidthRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static BANDWIDTH_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

/// Gives the packet its turn; true where the queue before it is too long, and it has to go.
#[inline(always)]
pub(crate) fn overflows(skb: *mut __sk_buff, passing: &Passing) -> bool {
    any(
        passing.unit,
        passing.active(fault::BANDWIDTH),
        &BANDWIDTH_RULES,
        &BANDWIDTH_COUNTS,
        |rule| &rule.head,
        |rule, counts| {
            if passing.decide(&rule.head, &rule.filter, counts).is_none() {
                return false;
            }
            // SAFETY: the context is the program's own; `counts` points into a live map value.
            let (now_ns, takes_ns, busy) = unsafe {
                (
                    bpf_ktime_get_ns(),
                    time_of((*skb).len, rule.ns_per_kib),
                    &raw mut (*counts).busy_until_ns,
                )
            };
            let mut leaves_ns = fetch_add(busy, takes_ns);
            if leaves_ns < now_ns {
                // The link was idle. CPUs that come here at the same moment may share one turn.
                leaves_ns = now_ns;
                // SAFETY: as above.
                unsafe { busy.write_volatile(now_ns + takes_ns) };
            }
            if leaves_ns > now_ns + LONGEST_QUEUE_NS {
                fetch_add(busy, takes_ns.wrapping_neg());
                return true;
            }
            // It has left the link when its last byte has.
            leaves_ns = departure::at(leaves_ns + takes_ns, now_ns);
            // SAFETY: as above, and `tstamp` is open to `cgroup_skb` programs.
            unsafe {
                if leaves_ns > (*skb).tstamp {
                    (*skb).tstamp = leaves_ns;
                }
            }
            false
        },
    )
}
