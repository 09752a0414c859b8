//! The configuration contract of a service: typed, validated as a whole, versioned, written atomically, read at start.
//!
//! Where the configuration comes from, first match wins:
//! 1. the **state** file `config.json` in the service's state directory, written by every accepted change;
//! 2. the **site** file, the administrator's, a plain (partial) document;
//! 3. the type's own **default**.
//!
//! ```
//! # use observastack_kit::config::{ConfigStore, FieldError, ServiceConfig};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Config {
//!     pool_size: u32,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { pool_size: 10 }
//!     }
//! }
//!
//! impl ServiceConfig for Config {
//!     fn validate(&self) -> Result<(), Vec<FieldError>> {
//!         FieldError::collect([FieldError::range("pool_size", self.pool_size, 1..=100)])
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let state_dir = directory.path();
//! let store = ConfigStore::<Config>::open(state_dir, None)?;
//! assert_eq!(store.current().config.pool_size, 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allowed;
pub(crate) mod document;
mod error;
mod file;
mod merge;
mod store;
#[cfg(test)]
mod tests;

use std::fmt::{Debug, Display};
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use error::ConfigError;
pub use merge::merge_patch;
pub use store::{Change, ConfigStore, IfMatch};

/// The name of the state file in the state directory.
pub const STATE_FILE: &str = "config.json";

/// A service's configuration.
///
/// Every struct in it carries `#[serde(deny_unknown_fields, default)]`: a misspelt field is then refused by name, and
/// a partial document is completed with the defaults.
pub trait ServiceConfig:
    Serialize + DeserializeOwned + Default + Clone + PartialEq + Send + Sync + 'static
{
    /// Checks every field, alone and against the others.
    ///
    /// # Errors
    /// All the fields that are wrong, not the first only. See [`FieldError::collect`].
    fn validate(&self) -> Result<(), Vec<FieldError>>;

    /// Dotted paths of the fields that take effect at the next start only, e.g. `"pool.size"` or `"listen"`.
    fn restart_fields() -> &'static [&'static str] {
        &[]
    }
}

/// One field of a document that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The dotted path, e.g. `pool.size`; `(document)` for the document as a whole.
    pub field: String,
    /// The refused value, shortened: as JSON, but text without its quotes where nobody can mistake it.
    pub value: String,
    /// What is allowed there, e.g. `1 to 100`.
    pub allowed: String,
}

impl FieldError {
    /// A refused value and what is allowed instead.
    #[must_use]
    pub fn new(field: impl Into<String>, value: impl Display, allowed: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }

    /// `Some` when the value is outside the range. NaN is outside every range.
    #[must_use]
    pub fn range<T: PartialOrd + Display>(
        field: &str,
        value: T,
        allowed: RangeInclusive<T>,
    ) -> Option<Self> {
        (!allowed.contains(&value)).then(|| {
            Self::new(
                field,
                value,
                format!("{} to {}", allowed.start(), allowed.end()),
            )
        })
    }

    /// `Some` when the condition does not hold.
    #[must_use]
    pub fn unless(holds: bool, field: &str, value: impl Display, allowed: &str) -> Option<Self> {
        (!holds).then(|| Self::new(field, value, allowed))
    }

    /// The result of a validation from its checks: `Ok` when none of them is `Some`.
    ///
    /// # Errors
    /// Every check that is `Some`.
    pub fn collect(checks: impl IntoIterator<Item = Option<Self>>) -> Result<(), Vec<Self>> {
        let errors: Vec<Self> = checks.into_iter().flatten().collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

impl Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} is not allowed, allowed: {}",
            self.field, self.value, self.allowed
        )
    }
}

/// Where the configuration in effect comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The state file: it was changed at run time.
    State,
    /// The administrator's site file.
    Site,
    /// The defaults built in.
    Default,
}

/// A configuration with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned<C> {
    /// 1 for a service never configured; every accepted change adds 1. Kept over restarts.
    pub version: u64,
    /// The configuration.
    pub config: C,
    /// Where it comes from.
    pub source: Source,
    /// Those [`ServiceConfig::restart_fields`] whose value differs from the one the process started with.
    pub pending_restart: Vec<&'static str>,
}
