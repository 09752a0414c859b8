//! The pool's part of a service's configuration.

use serde::{Deserialize, Serialize};

use crate::config::FieldError;

/// Size and patience of the connection pool; every field takes effect at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolSettings {
    /// Most connections at a time, 1 to 200.
    pub pool_size: u32,
    /// How long a request waits for a free connection, 1 to 60,000 ms; then it gets 503.
    pub acquire_timeout_ms: u64,
    /// How long a new connection may take with its log-in, 10 to 60,000 ms.
    pub connect_timeout_ms: u64,
    /// How long the server works on one statement, 1 to 300,000 ms; then it gets 504.
    pub statement_timeout_ms: u64,
}

impl Default for PoolSettings {
    fn default() -> Self {
        PoolSettings {
            pool_size: 10,
            acquire_timeout_ms: 1_000,
            connect_timeout_ms: 1_000,
            statement_timeout_ms: 2_000,
        }
    }
}

impl PoolSettings {
    /// Adds to `errors` what is out of range, each field named with `prefix` (such as `database`) in front.
    pub fn validate(&self, prefix: &str, errors: &mut Vec<FieldError>) {
        let ranges = [
            ("pool_size", u64::from(self.pool_size), 1, 200),
            ("acquire_timeout_ms", self.acquire_timeout_ms, 1, 60_000),
            ("connect_timeout_ms", self.connect_timeout_ms, 10, 60_000),
            (
                "statement_timeout_ms",
                self.statement_timeout_ms,
                1,
                300_000,
            ),
        ];
        for (field, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                errors.push(FieldError {
                    field: format!("{prefix}.{field}"),
                    value: value.to_string(),
                    allowed: format!("{least} to {most}"),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_out_of_range_is_named_with_its_value() {
        let settings = PoolSettings {
            pool_size: 0,
            acquire_timeout_ms: 0,
            connect_timeout_ms: 9,
            statement_timeout_ms: 300_001,
        };
        let mut errors = Vec::new();
        settings.validate("database", &mut errors);
        let named: Vec<_> = errors
            .iter()
            .map(|e| (e.field.as_str(), e.value.as_str()))
            .collect();
        assert_eq!(
            named,
            [
                ("database.pool_size", "0"),
                ("database.acquire_timeout_ms", "0"),
                ("database.connect_timeout_ms", "9"),
                ("database.statement_timeout_ms", "300001"),
            ]
        );
    }

    #[test]
    fn defaults_are_valid() {
        let mut errors = Vec::new();
        PoolSettings::default().validate("database", &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
    }
}
