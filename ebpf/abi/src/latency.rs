//! `latency`: packets to or from a unit take longer.

use crate::{packet::PacketFilter, rule::RuleHead};

/// One rule of `latency`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Which packets.
    pub filter: PacketFilter,
    /// How much longer, in nanoseconds, below 2^40.
    pub delay_ns: u64,
    /// By how much that varies, in nanoseconds, below 2^40.
    pub jitter_ns: u64,
    /// How it varies: [`crate::jitter::UNIFORM`], [`crate::jitter::NORMAL`] or [`crate::jitter::PARETO`].
    pub distribution: u8,
    /// Explicit padding.
    pub _reserved: [u8; 7],
}

const _: () = assert!(size_of::<LatencyRule>() == 136);
