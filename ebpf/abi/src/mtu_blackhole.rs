//! `mtu-blackhole`: packets larger than a link further on would take vanish, and nobody is told.

use crate::{packet::PacketFilter, rule::RuleHead};

/// One rule of `mtu-blackhole`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MtuBlackholeRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Which packets.
    pub filter: PacketFilter,
    /// The largest packet that passes, in bytes from the IP header on.
    pub mtu: u32,
    /// Explicit padding.
    pub _reserved: u32,
}

const _: () = assert!(size_of::<MtuBlackholeRule>() == 120);
