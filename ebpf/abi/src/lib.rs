//! What the eBPF programs and their loader agree on: rules, counters, limits, and the pure
//! decision which event of a rule is faulted.
//!
//! Everything here is `no_std`, has a fixed layout, and is the same on both sides. The kernel side reads rules, one type for
//! each fault, from maps and writes [`counts::RuleCounts`]; user space does the reverse.
//!
//! - [`rule`]: what every rule has; [`decision`]: which events it faults; [`packet`]: which packets it is about;
//! - [`unit`]: units and cgroups as the kernel knows them;
//! - a module for each fault;
//! - [`telemetry`]: what the probes of kernel telemetry count.
#![cfg_attr(not(test), no_std)]
#![warn(missing_docs)]

pub mod bandwidth;
pub mod bind_error;
pub mod connect_error;
pub mod counts;
pub mod decision;
pub mod departure;
pub mod jitter;
pub mod latency;
pub mod mtu_blackhole;
pub mod packet;
pub mod packet_loss;
pub mod rule;
pub mod signal;
pub mod slow_receiver;
pub mod syscall_error;
pub mod telemetry;
pub mod unit;

#[cfg(feature = "user")]
mod pod;
