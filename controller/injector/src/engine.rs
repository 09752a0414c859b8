//! The one thread that owns the loaded eBPF. Tasks send it messages; it renews the lease and ends what has expired.

mod faults;
mod handle;
mod last_id;
mod thread;
mod totals;

pub(crate) use handle::{Begun, Engine, EngineError, Held, Refusals};
pub(crate) use thread::{Options, spawn};
pub(crate) use totals::Series;
