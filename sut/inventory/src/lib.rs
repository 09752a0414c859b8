//! ObservaStack's downstream microservice: owns the shop's stock.
//!
//! ```text
//! routes ──> cache ──> stock ──> PostgreSQL, schema `stock`
//! ```
//!
//! - [`routes`]: `GET /stock/{sku}`, `POST /reservations`, `DELETE /reservations/{key}`;
//! - [`stock`]: the statements behind them;
//! - [`cache`]: keeps what was read for a moment, and lets readers share a load;
//! - [`settings`]: the configuration;
//! - [`service`]: puts it together and runs it.
#![forbid(unsafe_code)]

pub mod cache;
pub mod metrics;
pub mod routes;
pub mod service;
pub mod settings;
pub mod stock;
