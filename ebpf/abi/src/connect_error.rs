//! `connect-error`: a unit's `connect(2)` fails with a chosen errno.

use crate::rule::RuleHead;

/// The largest errno that Linux hands to user space (`MAX_ERRNO` in `include/linux/err.h`).
pub const MAX_ERRNO: i32 = 4095;

/// One rule of `connect-error`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectErrorRule {
    /// What every rule has.
    pub head: RuleHead,
    /// What `connect` returns, negative (-111 is `ECONNREFUSED`), not below -[`MAX_ERRNO`].
    pub retval: i32,
    /// The destination port, in host order; 0 is any.
    pub port: u16,
    /// Explicit padding.
    pub _reserved: u16,
}

const _: () = assert!(size_of::<ConnectErrorRule>() == 48);
