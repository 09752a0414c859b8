//! The lab's own telemetry backend: receives OTLP and profiles, keeps the newest of them, answers questions, passes them on.
//!
//! ```text
//! otlp/http, otlp/grpc ──> convert ──> intake (bounded) ──> store (one writer) ──> SQLite
//! profiles/push ───────────────────────────┘   └─> forward (Tempo, Loki, Pyroscope)   │
//!                                                              query <──── readers ───┘
//! ```
//!
//! - [`otlp`]: OTLP over HTTP and gRPC; [`profiles`]: Pyroscope's push API and flame graphs;
//! - [`convert`]: messages into rows, pure;
//! - [`intake`]: the queue, whose being full is what senders are told;
//! - [`store`]: SQLite, bounded by bytes, age and the disk; [`query`]: questions to it;
//! - [`forward`]: to other backends; [`metrics`]: what became of every item;
//! - [`settings`] and [`run`]: the process.
#![forbid(unsafe_code)]

pub mod convert;
pub mod forward;
pub mod intake;
pub mod metrics;
pub mod model;
pub mod otlp;
pub mod profiles;
pub mod query;
pub mod run;
pub mod server;
pub mod settings;
pub mod store;
