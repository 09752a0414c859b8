//! `connect-error`: a unit's `connect(2)` fails with a chosen errno.

use crate::{packet::PacketFilter, rule::RuleHead};

/// One rule of `connect-error`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectErrorRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Which connections; the port is the destination's.
    pub filter: PacketFilter,
    /// What `connect` returns, negative (-111 is `ECONNREFUSED`), not below -[`crate::rule::MAX_ERRNO`].
    pub retval: i32,
    /// Explicit padding.
    pub _reserved: u32,
}

const _: () = assert!(size_of::<ConnectErrorRule>() == 120);
