//! The worker's configuration; every field takes effect at once.

use std::time::Duration;

use observastack_kit::config::{FieldError, ServiceConfig};
use observastack_kit::database::PoolSettings;
use observastack_kit::traces::TraceSettings;
use serde::{Deserialize, Serialize};

/// The whole configuration, as `GET /config` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// The connection pool.
    pub database: PoolSettings,
    /// Deliveries at a time, 1 to 64.
    pub workers: usize,
    /// How often the queue is looked into when nobody tells of new orders, 10 to 60,000 ms.
    pub poll_interval_ms: u64,
    /// One delivery.
    pub delivery: DeliverySettings,
    /// What is done after a failure.
    pub retries: RetrySettings,
    /// Where messages are kept.
    pub spool: SpoolSettings,
    /// The second job.
    pub recommendations: RecommendationSettings,
    /// Which traces are recorded.
    pub traces: TraceSettings,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        WorkerConfig {
            database: PoolSettings::default(),
            workers: 8,
            poll_interval_ms: 200,
            delivery: DeliverySettings::default(),
            retries: RetrySettings::default(),
            spool: SpoolSettings::default(),
            recommendations: RecommendationSettings::default(),
            traces: TraceSettings::default(),
        }
    }
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliverySettings {
    /// How long the mail provider takes to accept a message, 0 to 60,000 ms. There is no such provider: this is a pause.
    pub handover_ms: u64,
    /// How long a claimed confirmation belongs to its worker, beyond the hand-over, 100 to 3,600,000 ms; then another may
    /// claim it.
    pub lease_ms: u64,
}

impl DeliverySettings {
    /// The pause that stands for the mail provider.
    pub fn handover(&self) -> Duration {
        Duration::from_millis(self.handover_ms)
    }

    /// How long a claim lasts.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.saturating_add(self.handover_ms))
    }
}

impl Default for DeliverySettings {
    fn default() -> Self {
        DeliverySettings {
            handover_ms: 20,
            lease_ms: 30_000,
        }
    }
}

/// What is done after a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// The pause after the first failure, 1 to 60,000 ms; doubles with each, 5 min at most, and half of it is random.
    pub backoff_ms: u64,
    /// Attempts in all, 1 to 100; then the confirmation is given up and stays in the table.
    pub max_attempts: i32,
}

impl RetrySettings {
    /// The pause after the first failure.
    pub fn backoff(&self) -> Duration {
        Duration::from_millis(self.backoff_ms)
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings {
            backoff_ms: 500,
            max_attempts: 10,
        }
    }
}

/// Where messages are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolSettings {
    /// Messages that are kept, 1 to 100,000; the oldest goes for a new one.
    pub keep: usize,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        SpoolSettings { keep: 1_000 }
    }
}

/// The second job: which products are bought together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecommendationSettings {
    /// Whether it runs.
    pub enabled: bool,
    /// The pause between two runs, 0 to 86,400,000 ms; at 0 its threads compute all the time.
    pub every_ms: u64,
    /// Threads that compute, 1 to 64, each a part of the orders.
    pub threads: usize,
    /// The newest orders that are looked at, 1 to 100,000.
    pub max_orders: u32,
}

impl Default for RecommendationSettings {
    fn default() -> Self {
        RecommendationSettings {
            enabled: true,
            every_ms: 60_000,
            threads: 1,
            max_orders: 2_000,
        }
    }
}

impl ServiceConfig for WorkerConfig {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = Vec::new();
        self.database.validate("database", &mut errors);
        self.traces.validate("traces", &mut errors);
        let jobs = &self.recommendations;
        let ranges = [
            ("workers", self.workers as u64, 1..=64),
            ("poll_interval_ms", self.poll_interval_ms, 10..=60_000),
            (
                "delivery.handover_ms",
                self.delivery.handover_ms,
                0..=60_000,
            ),
            ("delivery.lease_ms", self.delivery.lease_ms, 100..=3_600_000),
            ("retries.backoff_ms", self.retries.backoff_ms, 1..=60_000),
            ("spool.keep", self.spool.keep as u64, 1..=100_000),
            ("recommendations.every_ms", jobs.every_ms, 0..=86_400_000),
            ("recommendations.threads", jobs.threads as u64, 1..=64),
            (
                "recommendations.max_orders",
                u64::from(jobs.max_orders),
                1..=100_000,
            ),
        ];
        errors.extend(
            ranges
                .into_iter()
                .filter_map(|(field, value, allowed)| FieldError::range(field, value, allowed)),
        );
        errors.extend(FieldError::range(
            "retries.max_attempts",
            self.retries.max_attempts,
            1..=100,
        ));
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
        assert!(WorkerConfig::default().validate().is_ok());
        assert_eq!(
            serde_json::from_str::<WorkerConfig>("{}").unwrap(),
            WorkerConfig::default()
        );
    }

    #[test]
    fn all_fields_out_of_range_are_reported_together() {
        let text = r#"{"database":{"pool_size":0},"workers":65,"poll_interval_ms":1,
                       "delivery":{"handover_ms":60001,"lease_ms":99},"retries":{"backoff_ms":0,"max_attempts":0},
                       "spool":{"keep":0},"recommendations":{"every_ms":86400001,"threads":0,"max_orders":0}}"#;
        let errors = serde_json::from_str::<WorkerConfig>(text)
            .unwrap()
            .validate()
            .unwrap_err();
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "database.pool_size",
                "workers",
                "poll_interval_ms",
                "delivery.handover_ms",
                "delivery.lease_ms",
                "retries.backoff_ms",
                "spool.keep",
                "recommendations.every_ms",
                "recommendations.threads",
                "recommendations.max_orders",
                "retries.max_attempts"
            ]
        );
        assert_eq!(errors[1].allowed, "1 to 64");
    }

    #[test]
    fn a_long_handover_makes_the_claim_longer() {
        let delivery = DeliverySettings {
            handover_ms: 60_000,
            lease_ms: 1_000,
        };
        assert!(delivery.lease() > delivery.handover());
    }
}
