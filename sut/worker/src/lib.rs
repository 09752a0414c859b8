//! ObservaStack's worker: sends order confirmations from a queue, and computes which products are bought together.
//!
//! ```text
//! deliveries ──> queue ──> PostgreSQL, `shop.confirmations`
//!     │
//!     ├──> message ──> spool (files)
//!     └──> hand-over to the mail provider, which is simulated: a pause
//!
//! recommendations ──> pairs (pure) ──> PostgreSQL, `shop.recommendations`
//! ```
//!
//! - [`queue`]: the statements behind claiming, reading and marking confirmations;
//! - [`deliveries`]: so many at a time, each claimed for a while only;
//! - [`message`]: what a confirmation says; [`spool`]: where it is kept;
//! - [`backlog`]: how many wait, and for how long;
//! - [`recommendations`]: the second job; [`rounds`]: its threads; [`pairs`]: what they compute;
//! - [`settings`]: the configuration;
//! - [`service`]: puts it together and runs it.
//!
//! **At least once.** A confirmation is claimed for a while: a worker that dies loses its claim, and another one sends it. One
//! that dies between sending and marking has it sent again, with the same `Message-ID`.
#![forbid(unsafe_code)]

pub mod backlog;
pub mod backoff;
pub mod deliveries;
pub mod message;
pub mod metrics;
pub mod pairs;
pub mod queue;
pub mod recommendations;
pub mod rounds;
pub mod service;
pub mod settings;
pub mod spool;
