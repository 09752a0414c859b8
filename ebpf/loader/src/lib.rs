//! The only user of aya: loads the eBPF programs, finds units, arms rules, and says what the kernel can do.
//!
//! - [`Loader`] owns the loaded programs and maps. One thread keeps it; nothing here locks.
//! - [`capability`] asks the kernel what it can do, in three answers: yes, no, unknown, each with its reason.
//! - [`offsets`] reads from the running kernel's BTF where its structures keep what the programs read.
//! - [`decisions`] turns the programs' aya-log lines into values.

pub mod capability;
mod cgroup;
pub mod clock;
pub mod decisions;
mod faults;
mod loader;
mod memory;
pub mod offsets;
mod rule_map;
mod units;

pub use faults::{FaultKind, Rule};
pub use loader::{ArmError, Armed, LoadError, Loader};
pub use observastack_abi as abi;
