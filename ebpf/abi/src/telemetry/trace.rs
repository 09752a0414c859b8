//! Events of chosen units, told one by one as they come.

use super::event::COMM_LEN;

/// What is traced: bits of a unit's flags.
pub mod flag {
    /// System calls.
    pub const SYSCALLS: u32 = 1;
    /// TCP: states, segments sent again, resets.
    pub const TCP: u32 = 2;
    /// Stays on a CPU, and the waits before them.
    pub const SCHED: u32 = 4;
    /// Every one.
    pub const ALL: u32 = SYSCALLS | TCP | SCHED;
}

/// What happened.
pub mod kind {
    /// A system call has ended: `what` is its number, `value` what it returned, `duration_ns` how long it took.
    pub const SYSCALL: u32 = 1;
    /// A TCP socket has another state: `what` is the old one << 8 | the new one.
    pub const TCP_STATE: u32 = 2;
    /// A segment was sent again.
    pub const TCP_RETRANSMIT: u32 = 3;
    /// A reset was sent.
    pub const TCP_RESET_SENT: u32 = 4;
    /// A reset was received.
    pub const TCP_RESET_RECEIVED: u32 = 5;
    /// A task has left its CPU: `duration_ns` is how long it ran, `value` how long it had waited before (-1: not known), `what` is 1
    /// where it could have gone on.
    pub const SCHED: u32 = 6;
}

/// The arguments of a system call that are told.
pub const ARGUMENTS: usize = 3;

/// One event, as it lies in the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// See [`kind`].
    pub duration_ns: u64,
    /// See [`kind`].
    pub value: i64,
    /// A system call's first arguments.
    pub arguments: [u64; ARGUMENTS],
    /// The unit.
    pub unit: u32,
    /// One of [`kind`].
    pub kind: u32,
    /// See [`kind`].
    pub what: u32,
    /// The process, as the initial pid namespace has it; 0 for a socket's events.
    pub process: u32,
    /// The thread.
    pub thread: u32,
    /// `AF_INET` or `AF_INET6`; 0 for what is no socket's.
    pub family: u16,
    /// The socket's own port.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Explicit padding.
    pub _reserved: [u16; 3],
    /// The socket's own address: four bytes, or sixteen.
    pub local_address: [u8; 16],
    /// The peer's.
    pub remote_address: [u8; 16],
    /// The task's name, padded with zeros.
    pub comm: [u8; COMM_LEN],
}

/// Bytes of a [`Traced`].
pub const TRACED_LEN: usize = 128;

const _: () = assert!(size_of::<Traced>() == TRACED_LEN);
