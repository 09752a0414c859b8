//! Rare things, each of which is told.

/// Bytes of a task's name.
pub const COMM_LEN: usize = 16;

/// What happened.
pub mod kind {
    /// A program was executed.
    pub const EXEC: u32 = 1;
    /// A process has ended; `code` is its wait status (wait(2)).
    pub const EXIT: u32 = 2;
    /// The same, and the kernel has killed it for want of memory.
    pub const OOM_KILL: u32 = 3;
    /// A TCP reset was sent.
    pub const RESET_SENT: u32 = 4;
    /// A TCP reset was received.
    pub const RESET_RECEIVED: u32 = 5;
}

/// One event, as it lies in the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// One of [`kind`].
    pub kind: u32,
    /// The unit.
    pub unit: u32,
    /// The process, as the initial pid namespace has it; 0 where the event is not a process's.
    pub pid: u32,
    /// What `kind` says.
    pub code: i32,
    /// The socket's own port; 0 without a socket.
    pub local_port: u16,
    /// The peer's port.
    pub remote_port: u16,
    /// Explicit padding.
    pub _reserved: u32,
    /// The task's name, padded with zeros; nothing where the event is not a process's.
    pub comm: [u8; COMM_LEN],
}

/// Bytes of an [`Event`].
pub const EVENT_LEN: usize = 48;

const _: () = assert!(size_of::<Event>() == EVENT_LEN);
