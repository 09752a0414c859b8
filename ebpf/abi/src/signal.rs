//! `signal`: a unit's process gets a signal when it makes a system call.

use crate::rule::RuleHead;

/// One rule of `signal`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalRule {
    /// What every rule has.
    pub head: RuleHead,
    /// The system call's number on this architecture.
    pub syscall: u32,
    /// The signal's number.
    pub signal: u32,
}

const _: () = assert!(size_of::<SignalRule>() == 80);
