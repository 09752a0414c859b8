//! The contract's promises, tested on a configuration that has one field of every kind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod changes;
mod crash;
mod open;
mod sequences;
mod wrong_types;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ConfigError, ConfigStore, FieldError, STATE_FILE, ServiceConfig};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    listen_backlog: u32,
    label: Option<String>,
    weights: BTreeMap<String, u8>,
    pool: Pool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pool {
    size: u32,
    timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_backlog: 128,
            label: None,
            weights: BTreeMap::new(),
            pool: Pool::default(),
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            size: 10,
            timeout_ms: 500,
        }
    }
}

impl ServiceConfig for Config {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        FieldError::collect([
            FieldError::range("listen_backlog", self.listen_backlog, 1..=4096),
            FieldError::range("pool.size", self.pool.size, 1..=100),
            FieldError::range("pool.timeout_ms", self.pool.timeout_ms, 1..=60_000),
        ])
    }

    fn restart_fields() -> &'static [&'static str] {
        &["listen_backlog", "pool.size"]
    }
}

fn open(state_dir: &Path) -> Result<ConfigStore<Config>, ConfigError> {
    ConfigStore::open(state_dir, None)
}

/// What the state file says, as JSON.
fn on_disk(state_dir: &Path) -> Option<Value> {
    let content = std::fs::read(state_dir.join(STATE_FILE)).ok()?;
    Some(serde_json::from_slice(&content).expect("the state file is always whole"))
}

fn fields(error: &ConfigError) -> Vec<&str> {
    error
        .fields()
        .iter()
        .map(|field| field.field.as_str())
        .collect()
}
