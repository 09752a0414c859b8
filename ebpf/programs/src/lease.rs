//! The lease: no injector, no fault.

use aya_ebpf::{macros::map, maps::Array};

/// Until when faults may act, in nanoseconds of `CLOCK_MONOTONIC`; the injector renews it while it lives.
#[map]
static LEASE: Array<u64> = Array::with_max_entries(1, 0);

/// When the injector's lease ends, or has ended.
#[inline(always)]
pub(crate) fn until_ns() -> u64 {
    LEASE.get(0).map_or(0, |until_ns| *until_ns)
}
