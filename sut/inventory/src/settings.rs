//! The inventory's configuration; every field takes effect at once.

use std::time::Duration;

use observastack_kit::config::{FieldError, ServiceConfig};
use serde::{Deserialize, Serialize};

use observastack_kit::database::PoolSettings;
use observastack_kit::traces::TraceSettings;

/// The whole configuration, as `GET /config` shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InventoryConfig {
    /// The connection pool.
    pub database: PoolSettings,
    /// The read cache for stock.
    pub cache: CacheSettings,
    /// What a request may ask for.
    pub limits: LimitSettings,
    /// Which traces are recorded.
    pub traces: TraceSettings,
}

/// The read cache for stock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSettings {
    /// Whether reads go through the cache.
    pub enabled: bool,
    /// Age at which an entry is loaded again, 1 to 3,600,000 ms.
    pub ttl_ms: u64,
    /// Most entries, 1 to 100,000; the oldest goes for a new one.
    pub max_entries: usize,
    /// Whether readers of the same missing entry wait for one load instead of each doing their own.
    pub single_flight: bool,
}

impl CacheSettings {
    /// The age at which an entry is loaded again.
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        CacheSettings {
            enabled: true,
            ttl_ms: 1_000,
            max_entries: 1_000,
            single_flight: true,
        }
    }
}

/// What a request may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Largest request body, 1,024 to 65,536 bytes; more gets 413.
    pub max_body_bytes: usize,
    /// Most lines in a reservation, 1 to 1,000; more gets 422.
    pub max_lines: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings {
            max_body_bytes: 65_536,
            max_lines: 100,
        }
    }
}

impl ServiceConfig for InventoryConfig {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        self.database.validate("database", &mut errors);
        self.traces.validate("traces", &mut errors);
        let ranges = [
            ("cache.ttl_ms", self.cache.ttl_ms, 1, 3_600_000),
            (
                "cache.max_entries",
                self.cache.max_entries as u64,
                1,
                100_000,
            ),
            (
                "limits.max_body_bytes",
                self.limits.max_body_bytes as u64,
                1_024,
                65_536,
            ),
            ("limits.max_lines", self.limits.max_lines as u64, 1, 1_000),
        ];
        for (field, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                errors.push(FieldError {
                    field: field.to_owned(),
                    value: value.to_string(),
                    allowed: format!("{least} to {most}"),
                });
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_an_empty_file_means_defaults() {
        assert!(InventoryConfig::default().validate().is_ok());
        assert_eq!(
            serde_json::from_str::<InventoryConfig>("{}").unwrap(),
            InventoryConfig::default()
        );
    }

    #[test]
    fn all_fields_out_of_range_are_reported_together() {
        let text = r#"{"database":{"pool_size":0},"cache":{"ttl_ms":0,"max_entries":100001},
                       "limits":{"max_body_bytes":1,"max_lines":0}}"#;
        let errors = serde_json::from_str::<InventoryConfig>(text)
            .unwrap()
            .validate()
            .unwrap_err();
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "database.pool_size",
                "cache.ttl_ms",
                "cache.max_entries",
                "limits.max_body_bytes",
                "limits.max_lines"
            ]
        );
        assert_eq!(errors[2].allowed, "1 to 100000");
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let error =
            serde_json::from_str::<InventoryConfig>(r#"{"cache":{"tll_ms":5}}"#).unwrap_err();
        assert!(error.to_string().contains("tll_ms"), "{error}");
    }
}
