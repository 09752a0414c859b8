//! Load on HTTP services, measured so that it can be believed.
//!
//! **Open loop**: requests are due at planned times, whatever the target does; a response time counts from then on, so that a target that
//! stands still is seen by every request that was due meanwhile (no coordinated omission). **Closed loop**: users who wait for an answer
//! before they ask again.
//!
//! ```text
//! shape (YAML) ──> workload, schedule (pure) ──> engine: a worker a thread ──> stats ──> report, thresholds
//!                                                   │ http (pure): bytes
//!                                                   └ connections, epoll
//! ```
//!
//! - [`schedule`]: when journeys begin; [`workload`]: what they do; [`http`]: what is sent, and answers as they arrive;
//! - [`shape`]: all of that from a file; [`target`]: where to;
//! - [`engine`]: workers and their connections; [`stats`]: histograms and counters;
//! - [`threshold`]: what decides the exit code; [`report`]: as text, JSON, CSV and HTML, and two of them compared; [`metrics`]: for Prometheus;
//! - [`service`]: load on demand, over a Unix socket.
#![forbid(unsafe_code)]

pub mod engine;
pub mod http;
pub mod metrics;
pub mod report;
pub mod schedule;
pub mod service;
pub mod shape;
pub mod stats;
pub mod target;
pub mod threshold;
pub mod workload;
