//! The gateway: the only door to the system under test, a balancing reverse proxy on pingora.
//!
//! A request goes through [`phases`] in order, each in a file of its own; what the phases share is in
//! [`context::RequestContext`]. What requests share ([`upstreams`], [`retry_budget`], [`rate_limit`], [`metrics`]) hangs off
//! [`proxy::Gateway`]. [`health`] decides which upstreams are used, [`server`] accepts clients and drains. All settings are in
//! [`config`]; most of them change while requests are in flight.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod clock;
pub mod config;
pub mod context;
pub mod failure;
pub mod health;
pub mod metrics;
pub mod phases;
pub mod proxy;
pub mod rate_limit;
pub mod request_id;
pub mod respond;
pub mod retry;
pub mod retry_budget;
pub mod routes;
pub mod server;
pub mod upstreams;
