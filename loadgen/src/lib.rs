//! Load on HTTP services, measured so that it can be believed.
//!
//! **Open loop**: requests are due at planned times, whatever the target does; a response time counts from then on, so that a target that
//! stands still is seen by every request that was due meanwhile (no coordinated omission). **Closed loop**: users who wait for an answer
//! before they ask again.
//!
//! ```text
//! schedule (pure) ──> engine: a worker a thread ──> stats ──> report, thresholds
//!                        │ http (pure): bytes
//!                        └ connections, epoll
//! ```
//!
//! - [`schedule`]: when requests are due; [`http`]: what is sent, and answers as they arrive;
//! - [`engine`]: workers and their connections; [`stats`]: histograms and counters;
//! - [`threshold`]: what decides the exit code; [`report`]: as text and JSON, and two of them compared.
#![forbid(unsafe_code)]

pub mod engine;
pub mod http;
pub mod report;
pub mod schedule;
pub mod stats;
pub mod threshold;
