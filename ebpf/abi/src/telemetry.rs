//! What the probes of kernel telemetry and their reader agree on.
//!
//! Everything is counted by unit: an index below [`UNITS`], of which the last one, [`OTHER`], stands for whatever is not a unit of
//! an observed slice.

pub mod block_io;
pub mod counters;
pub mod event;
pub mod histogram;
pub mod off_cpu;
pub mod offsets;
pub mod profile;
pub mod run_queue;
pub mod syscalls;
pub mod trace;

use crate::unit::MAX_UNITS;

/// The index of everything that is no unit of an observed slice.
pub const OTHER: u32 = MAX_UNITS;

/// How many indices there are, [`OTHER`] included.
pub const UNITS: u32 = MAX_UNITS + 1;

/// What is wanted of a unit on demand: bits of its entry, beside [`trace::flag`].
pub mod wanted {
    /// Its system calls are counted.
    pub const COUNT_SYSCALLS: u32 = 1 << 8;
    /// What its tasks sleep for is counted. In the entry of [`super::OTHER`]: some unit's are.
    pub const OFF_CPU: u32 = 1 << 9;
    /// Its stacks are sampled.
    pub const PROFILE: u32 = 1 << 10;
    /// The stacks of its tasks that go to sleep are kept: the number of that profile, from 1; 0 for none. A task that fell asleep in one
    /// profile and wakes up in the next belongs to neither.
    pub const SLEEP_STACKS: u32 = 0xffff_0000;
    /// The lowest bit of that number.
    pub const FIRST_SLEEP_STACKS: u32 = 1 << 16;
}
