//! The only user of aya: loads the eBPF programs, finds units, arms rules, and says what the kernel can do.
//!
//! - [`Loader`] owns the loaded programs and maps. One thread keeps it; nothing here locks.
//! - [`capability`] asks the kernel what it can do, in three answers: yes, no, unknown, each with its reason.
//! - [`offsets`] reads from the running kernel's BTF where its structures keep what the programs read.
//! - [`observer`]: the probes of kernel telemetry, an object of their own.
//! - [`sock_diag`]: the kernel's list of TCP sockets.
//! - [`decisions`] turns the programs' aya-log lines into values.

mod attachments;
pub mod capability;
mod cgroup;
pub mod clock;
pub mod decisions;
mod faults;
mod hook;
mod loader;
pub mod memory;
pub mod observer;
pub mod offsets;
mod rule_map;
pub mod sock_diag;
mod units;

pub use attachments::interfaces;
pub use cgroup::unit_paths;
pub use faults::{FaultKind, Rule};
pub use hook::{FILTER_PRIORITY, Place, Program, has_tcx};
pub use loader::{ArmError, Armed, LoadError, Loader};
pub use observastack_abi as abi;

/// An error with its causes, the verifier's log cut to its last lines.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(6)..].join("; ")
}
