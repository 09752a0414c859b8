//! A rule's own account of what it did, kept in the kernel.

/// Counters of one rule, in the map beside its rule and under the same index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounts {
    /// Events that the rule covered; the next event's number.
    pub matched: u64,
    /// Events that were faulted.
    pub injected: u64,
    /// Events that the rule covered while the lease had lapsed: left alone, and not numbered.
    pub skipped: u64,
    /// Events that were to be faulted, also those beyond the rule's most.
    pub granted: u64,
    /// When a decision to leave an event alone was last logged, in nanoseconds of `CLOCK_MONOTONIC`.
    pub logged_ns: u64,
    /// When a decision to fault an event was last logged: rare faults must not drown among the others.
    pub logged_fault_ns: u64,
    /// `bandwidth`: when the last packet that passed is off the wire, in nanoseconds of `CLOCK_MONOTONIC`.
    pub busy_until_ns: u64,
}

const _: () = assert!(size_of::<RuleCounts>() == 56);
