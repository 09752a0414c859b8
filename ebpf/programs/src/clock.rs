//! What time it is, in nanoseconds of `CLOCK_MONOTONIC`, as exactly as it matters.

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_ktime_get_coarse_ns};

/// Two ticks of the slowest clock that kernels have (`CONFIG_HZ=100`).
const MARGIN_NS: u64 = 20_000_000;

/// The time now.
#[inline(always)]
pub(crate) fn exact_ns(_until_ns: u64) -> u64 {
    // SAFETY: the helper takes no arguments and has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The time now where it may be past `until_ns`, and that of the last tick, at a quarter of the price, long before.
///
/// `bpf_ktime_get_coarse_ns` (5.11) is not for tracing and LSM programs (5.16): those may run while the clock is being set.
#[inline(always)]
pub(crate) fn about_ns(until_ns: u64) -> u64 {
    // SAFETY: the helper takes no arguments and has no preconditions.
    let tick_ns = unsafe { bpf_ktime_get_coarse_ns() };
    if tick_ns + MARGIN_NS < until_ns {
        tick_ns
    } else {
        exact_ns(until_ns)
    }
}
