//! `slow-receiver`: a unit seems to have little or no room for more, so its peers send slowly or not at all.

use crate::{packet::PacketFilter, rule::RuleHead};

/// One rule of `slow-receiver`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlowReceiverRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Which packets.
    pub filter: PacketFilter,
    /// The largest value of the TCP header's window field that a peer sees, before scaling.
    pub window: u16,
    /// Explicit padding.
    pub _reserved: [u16; 3],
}

const _: () = assert!(size_of::<SlowReceiverRule>() == 120);
