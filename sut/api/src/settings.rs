//! The API server's configuration; every field takes effect at once, for requests that come after it.

use std::path::PathBuf;

use observastack_kit::config::{FieldError, ServiceConfig};
use observastack_kit::database::PoolSettings;
use observastack_kit::traces::TraceSettings;
use serde::{Deserialize, Serialize};

/// The whole configuration, as `GET /config` shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// The connection pool.
    pub database: PoolSettings,
    /// Calls to the inventory service.
    pub inventory: InventorySettings,
    /// What a request may ask for.
    pub limits: LimitSettings,
    /// Which traces are recorded.
    pub traces: TraceSettings,
    /// The sales report.
    pub report: ReportSettings,
}

/// Calls to the inventory service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InventorySettings {
    /// How long a new connection may take, 1 to 60,000 ms.
    pub connect_timeout_ms: u64,
    /// How long one attempt may take with its connection, 1 to 60,000 ms.
    pub request_timeout_ms: u64,
    /// Attempts after the first, 0 to 10.
    pub retries: u32,
    /// Pause before the first retry, 0 to 10,000 ms; doubles with each, and half of it is random.
    pub backoff_ms: u64,
    /// Whether `GET /products/{sku}` asks the inventory for the product's stock. Without an answer the product is shown
    /// without it.
    pub show_stock: bool,
}

impl Default for InventorySettings {
    fn default() -> Self {
        InventorySettings {
            connect_timeout_ms: 250,
            request_timeout_ms: 1_000,
            retries: 1,
            backoff_ms: 50,
            show_stock: true,
        }
    }
}

/// What a request may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Largest request body, 1,024 to 65,536 bytes; more gets 413.
    pub max_body_bytes: usize,
    /// Most items in a page, 1 to 1,000; asking for more gets 422.
    pub max_page: u32,
    /// Most lines in an order, 1 to 100; more gets 422.
    pub max_order_lines: usize,
}

impl Default for LimitSettings {
    fn default() -> Self {
        LimitSettings {
            max_body_bytes: 65_536,
            max_page: 100,
            max_order_lines: 50,
        }
    }
}

/// How the sales report is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Sorts: O(n log n).
    Good,
    /// Compares everything with everything: O(n²), for the same result.
    Bad,
}

impl Algorithm {
    /// The algorithm's name in configuration, query strings and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Good => "good",
            Algorithm::Bad => "bad",
        }
    }

    /// The algorithm of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Algorithm::Good, Algorithm::Bad]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

/// The sales report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSettings {
    /// Used when the request names none.
    pub algorithm: Algorithm,
    /// The newest so many orders are reported on, 1 to 100,000.
    pub max_orders: u32,
    /// Product pairs and categories listed, 1 to 100.
    pub top: u32,
    /// Reports computed at a time, 1 to 64; each keeps a core busy.
    pub concurrency: usize,
    /// How long a report waits for its turn, 0 to 60,000 ms; then it gets 503.
    pub queue_timeout_ms: u64,
    /// How long the computation may take, 10 to 300,000 ms; then the request gets 504.
    pub timeout_ms: u64,
    /// The HTML template, an absolute path; read for each report.
    pub template_path: PathBuf,
}

impl Default for ReportSettings {
    fn default() -> Self {
        ReportSettings {
            algorithm: Algorithm::Good,
            max_orders: 10_000,
            top: 10,
            concurrency: 2,
            queue_timeout_ms: 2_000,
            timeout_ms: 10_000,
            template_path: "/usr/share/observastack/report.html".into(),
        }
    }
}

impl ServiceConfig for ApiConfig {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        self.database.validate("database", &mut errors);
        self.traces.validate("traces", &mut errors);
        let ranges = [
            (
                "inventory.connect_timeout_ms",
                self.inventory.connect_timeout_ms,
                1,
                60_000,
            ),
            (
                "inventory.request_timeout_ms",
                self.inventory.request_timeout_ms,
                1,
                60_000,
            ),
            (
                "inventory.retries",
                u64::from(self.inventory.retries),
                0,
                10,
            ),
            ("inventory.backoff_ms", self.inventory.backoff_ms, 0, 10_000),
            (
                "limits.max_body_bytes",
                self.limits.max_body_bytes as u64,
                1_024,
                65_536,
            ),
            ("limits.max_page", u64::from(self.limits.max_page), 1, 1_000),
            (
                "limits.max_order_lines",
                self.limits.max_order_lines as u64,
                1,
                100,
            ),
            (
                "report.max_orders",
                u64::from(self.report.max_orders),
                1,
                100_000,
            ),
            ("report.top", u64::from(self.report.top), 1, 100),
            ("report.concurrency", self.report.concurrency as u64, 1, 64),
            (
                "report.queue_timeout_ms",
                self.report.queue_timeout_ms,
                0,
                60_000,
            ),
            ("report.timeout_ms", self.report.timeout_ms, 10, 300_000),
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
        // The file may come later (or go away, which is a fault to practise), but a relative path depends on the
        // directory that the service happened to be started in.
        if !self.report.template_path.is_absolute() {
            errors.push(FieldError {
                field: "report.template_path".to_owned(),
                value: self.report.template_path.display().to_string(),
                allowed: "an absolute path".to_owned(),
            });
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
        assert!(ApiConfig::default().validate().is_ok());
        assert_eq!(
            serde_json::from_str::<ApiConfig>("{}").unwrap(),
            ApiConfig::default()
        );
    }

    #[test]
    fn all_bad_values_are_reported_together() {
        let text = r#"{"database":{"pool_size":201},"inventory":{"retries":11},"limits":{"max_page":0},
                       "report":{"concurrency":0,"template_path":"report.html"}}"#;
        let errors = serde_json::from_str::<ApiConfig>(text)
            .unwrap()
            .validate()
            .unwrap_err();
        let fields: Vec<_> = errors
            .iter()
            .map(|e| (e.field.as_str(), e.value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("database.pool_size", "201"),
                ("inventory.retries", "11"),
                ("limits.max_page", "0"),
                ("report.concurrency", "0"),
                ("report.template_path", "report.html"),
            ]
        );
    }

    #[test]
    fn an_unknown_algorithm_is_refused_with_the_allowed_ones() {
        let error =
            serde_json::from_str::<ApiConfig>(r#"{"report":{"algorithm":"best"}}"#).unwrap_err();
        assert!(error.to_string().contains("`good` or `bad`"), "{error}");
    }
}
