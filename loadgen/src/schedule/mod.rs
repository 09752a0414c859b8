//! When requests are due: a rate over time, and how arrivals are spaced within it. Pure: the same seed gives the same times.

mod arrivals;
mod profile;
mod replay;
mod slope;
mod stage;

pub use arrivals::{Arrivals, Spacing};
pub use profile::{Profile, Segment};
pub use replay::{ReplayError, replay};
pub use slope::Slope;
pub use stage::{HIGHEST_RATE, StageError, parse};
