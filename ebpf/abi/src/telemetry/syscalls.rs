//! System calls of chosen units: by number, with errno and latency.

/// How many calls can be on their way at once. A power of two; calls of threads with the same place overwrite each other.
pub const CALL_PLACES: u32 = 16384;

/// How many pairs of unit and call are told apart.
pub const MAX_SERIES: u32 = 2048;

/// A call that was entered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entered {
    /// When.
    pub at_ns: u64,
    /// The thread: id of its process in the upper half, its own in the lower; 0 for none.
    pub thread: u64,
    /// The call's number.
    pub number: u32,
    /// The unit.
    pub unit: u32,
}

/// What is told apart.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The unit.
    pub unit: u32,
    /// The call's number; where calls that failed are counted, see [`failed`].
    pub call: u32,
}

/// A call's number and the errno that it failed with.
#[inline(always)]
pub const fn failed(number: u32, errno: u32) -> u32 {
    errno << 16 | number & 0xffff
}

const _: () = assert!(size_of::<Entered>() == 24);
const _: () = assert!(size_of::<Series>() == 8);
const _: () = assert!(CALL_PLACES.is_power_of_two());

/// A thread's place in the table of calls on their way.
#[inline(always)]
pub const fn place_of(thread: u64) -> u32 {
    thread as u32 & (CALL_PLACES - 1)
}
