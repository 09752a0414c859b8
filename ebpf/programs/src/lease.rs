//! The lease: no injector, no fault.

use aya_ebpf::{macros::map, maps::Array};

/// Until when faults may act, in nanoseconds of `CLOCK_MONOTONIC`; the injector renews it while it lives.
#[map]
static LEASE: Array<u64> = Array::with_max_entries(1, 0);

/// Whether the injector's lease holds at `now_ns`.
#[inline(always)]
pub(crate) fn holds(now_ns: u64) -> bool {
    LEASE.get(0).is_some_and(|until_ns| now_ns < *until_ns)
}
