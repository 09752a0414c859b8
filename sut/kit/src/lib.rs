//! What the services under test share, so that each of them holds only its own business.
//!
//! - [`config`]: the configuration contract: typed, validated, versioned, changed at run time, back after a crash;
//! - [`admin`]: that contract over HTTP on a Unix socket, which only operators may open;
//! - [`http`]: an HTTP/1.1 server with a connection limit, timeouts, RED metrics and a graceful drain;
//! - [`health`]: what makes the service alive, and what makes it ready;
//! - [`ops`]: the `/healthz`, `/livez` and `/metrics` routes;
//! - [`lifecycle`]: SIGTERM, SIGHUP and systemd's watchdog; [`process`]: what is around it;
//! - [`backoff`]: how long to rest after a failure;
//! - [`service`]: the shape of the shop's errors, its JSON bodies, amounts of money;
//! - [`traces`]: which traces are recorded, as a part of the configuration;
//! - `database` (with the feature of that name): PostgreSQL through a pool that follows the configuration.
//!
//! A stop is told everywhere by a `tokio::sync::watch::Receiver<bool>` that turns `true` (the type pingora uses too),
//! so every part also works inside a runtime that is not ours.
#![forbid(unsafe_code)]

pub mod admin;
pub mod backoff;
pub mod config;
#[cfg(feature = "database")]
pub mod database;
pub mod health;
pub mod http;
pub mod lifecycle;
pub mod ops;
pub mod process;
pub mod service;
pub mod traces;
