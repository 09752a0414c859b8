//! What every ObservaStack process tells the outside: structured logs, metrics, and its state to systemd.
//!
//! - [`logs`]: a tracing subscriber that writes journald's structured fields, or plain lines to a terminal;
//! - [`traces`]: spans with OpenTelemetry's names, and W3C trace context from process to process;
//! - [`otlp`]: spans and log records on their way to a collector;
//! - [`profiles`]: where this process spends its CPU time, on its way to a Pyroscope server;
//! - [`pprof`]: the messages that such a server takes;
//! - [`metrics`]: a prometheus-client registry with what every process exports, and the HTTP server's RED family;
//! - [`socket`]: where it answers its operators;
//! - [`notify`]: readiness, status and watchdog messages to the service manager.
//!
//! It depends on no other crate of the workspace, so any part may use it.
#![forbid(unsafe_code)]

pub mod logs;
pub mod metrics;
pub mod notify;
pub mod otlp;
pub mod pprof;
pub mod profiles;
pub mod socket;
pub mod traces;
