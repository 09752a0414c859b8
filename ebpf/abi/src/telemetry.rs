//! What the probes of kernel telemetry and their reader agree on.
//!
//! Everything is counted by unit: an index below [`UNITS`], of which the last one, [`OTHER`], stands for whatever is not a unit of
//! an observed slice.

pub mod block_io;
pub mod counters;
pub mod event;
pub mod histogram;
pub mod offsets;
pub mod run_queue;
pub mod syscalls;

use crate::unit::MAX_UNITS;

/// The index of everything that is no unit of an observed slice.
pub const OTHER: u32 = MAX_UNITS;

/// How many indices there are, [`OTHER`] included.
pub const UNITS: u32 = MAX_UNITS + 1;
