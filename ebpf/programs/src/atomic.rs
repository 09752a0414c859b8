//! The atomic addition that eBPF has.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

/// Adds 1 and gives the value before.
#[inline(always)]
pub(crate) fn fetch_increment(counter: *mut u64) -> u64 {
    fetch_add(counter, 1)
}

/// Adds a number, modulo 2^64, and gives the value before.
///
/// Sequentially consistent on purpose: with `target-cpu=v3` LLVM 22 compiles a relaxed `atomic_xadd` into an
/// add without fetch and silently takes the addend for the result. A test of the loader looks at the object's instructions.
#[inline(always)]
pub(crate) fn fetch_add(counter: *mut u64, addend: u64) -> u64 {
    // SAFETY: callers pass a field of a live map value, which is aligned to 8 and never freed while the program runs.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(counter, addend) }
}
