//! ObservaStack's shop API: products, orders and a CPU-heavy sales report. Several processes of it run side by side.
//!
//! ```text
//! routes ──> products, orders ──> PostgreSQL, schema `shop`
//!    ├─────> checkout ──> inventory (HTTP) and orders
//!    └─────> report ──> orders, a thread of its own, a template on disk
//! ```
//!
//! - [`routes`]: from a request to its answer;
//! - [`checkout`]: how an order is placed across two services, and undone;
//! - [`inventory`]: the client of the inventory service;
//! - [`orders`], [`products`]: the statements;
//! - [`report`]: the sales report and its two algorithms;
//! - [`settings`]: the configuration;
//! - [`service`]: puts it together.
#![forbid(unsafe_code)]

pub mod announcer;
pub mod background;
pub mod checkout;
pub mod inventory;
pub mod metrics;
pub mod orders;
pub mod page;
pub mod products;
pub mod report;
pub mod request_context;
pub mod routes;
pub mod service;
pub mod settings;
