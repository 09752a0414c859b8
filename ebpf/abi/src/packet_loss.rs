//! `packet-loss`: packets that arrive at a unit's sockets vanish.

use crate::rule::RuleHead;

/// One rule of `packet-loss`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketLossRule {
    /// What every rule has.
    pub head: RuleHead,
    /// A TCP or UDP port that either end of the packet must have, in host order; 0 is any packet.
    pub port: u16,
    /// Explicit padding.
    pub _reserved: [u16; 3],
}

const _: () = assert!(size_of::<PacketLossRule>() == 48);
