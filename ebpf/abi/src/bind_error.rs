//! `bind-error`: a unit's `bind(2)` fails with a chosen errno.

use crate::{packet::PacketFilter, rule::RuleHead};

/// One rule of `bind-error`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindErrorRule {
    /// What every rule has.
    pub head: RuleHead,
    /// Which addresses; the peer is the address that is bound.
    pub filter: PacketFilter,
    /// What `bind` returns, negative, not below -[`crate::rule::MAX_ERRNO`].
    pub retval: i32,
    /// Explicit padding.
    pub _reserved: u32,
}

const _: () = assert!(size_of::<BindErrorRule>() == 120);
