//! `packet-loss` and `blackhole`: packets to or from a unit vanish.

use crate::{packet::PacketFilter, rule::RuleHead};

/// One rule of `packet-loss`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketLossRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Which packets.
    pub filter: PacketFilter,
}

const _: () = assert!(size_of::<PacketLossRule>() == 112);
