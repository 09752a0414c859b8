//! The one thread that owns the loaded eBPF. Tasks send it messages; it renews the lease and ends what has expired.

mod faults;
mod handle;
mod last_id;
mod thread;

pub(crate) use handle::{Engine, EngineError, Refusals};
pub(crate) use thread::{Options, spawn};
