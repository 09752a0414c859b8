//! Profiles: Pyroscope's push API, pprof, and flame graphs merged from many of them.

mod flame;
mod pprof;
mod push;

pub(crate) use flame::Merge;
pub use flame::{Flame, FlameGraph};
pub use pprof::decode;
pub use push::routes;

/// Bytes of one profile, unpacked, at most.
pub const PPROF_BYTES: usize = 8 << 20;
