//! PostgreSQL for the services that own data: a pool that follows the configuration, timed statements, migrations.
//!
//! ```text
//! DatabaseArgs (command line) ─┐
//!                              ├─> Database ──acquire()──> Session ──begin()──> Transaction
//! PoolSettings (live config) ──┘      │
//!                                     └──supervise()──> connect, migrate, then watch
//! ```
//!
//! Every statement has a name, a deadline and a place in `db_client_operation_duration_seconds`. Every error says which
//! of the few things went wrong that a caller treats differently: see [`DatabaseError`].

mod answer;
mod args;
mod error;
mod listener;
mod metrics;
mod pool;
mod session;
mod settings;
mod supervisor;

pub use args::DatabaseArgs;
pub use error::DatabaseError;
pub use listener::Listener;
pub use metrics::DatabaseMetrics;
pub use pool::Database;
pub use session::{Parameters, Session, Statement, Transaction};
pub use settings::PoolSettings;
pub use supervisor::{Schema, supervise, supervise_table};
