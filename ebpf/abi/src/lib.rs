//! What the eBPF programs and their loader agree on: rules, counters, limits, and the pure
//! decision which event of a rule is faulted.
//!
//! Everything here is `no_std`, has a fixed layout, and is the same on both sides. The kernel
//! side reads [`packet_loss::PacketLossRule`]s and [`connect_error::ConnectErrorRule`]s from maps
//! and writes [`counts::RuleCounts`]; user space does the reverse.
#![cfg_attr(not(test), no_std)]
#![warn(missing_docs)]

pub mod connect_error;
pub mod counts;
pub mod decision;
pub mod packet_loss;
pub mod rule;
pub mod unit;

#[cfg(feature = "user")]
mod pod;
