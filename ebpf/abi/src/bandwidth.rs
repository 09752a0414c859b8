//! `bandwidth`: packets to or from a unit leave no faster than a rate.

use crate::{packet::PacketFilter, rule::RuleHead};

/// How far ahead of now a packet's time may lie, in nanoseconds; one that would have to wait longer is dropped. `fq` drops
/// what lies more than 10 s ahead (its `horizon`).
pub const LONGEST_QUEUE_NS: u64 = 5_000_000_000;

/// How long so many bytes take, in nanoseconds.
#[inline(always)]
pub const fn time_of(bytes: u32, ns_per_kib: u64) -> u64 {
    (bytes as u64 * ns_per_kib) >> 10
}

/// One rule of `bandwidth`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Which packets.
    pub filter: PacketFilter,
    /// How long a KiB takes, in nanoseconds: 2^13 * 10^9 / the rate in bits a second.
    pub ns_per_kib: u64,
}

const _: () = assert!(size_of::<BandwidthRule>() == 120);
