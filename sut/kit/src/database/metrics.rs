//! Figures about the pool and the statements, named as OpenTelemetry's semantic conventions for database clients do.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::pool::CurrentPool;

/// Upper bounds in seconds; a statement on loopback takes 0.1 to 5 ms, a faulted one up to its timeout.
const STATEMENT_BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatementLabels {
    db_query_summary: &'static str,
    /// Empty when it succeeded.
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    db_client_connection_state: &'static str,
}

/// Counters and histograms of one pool; cheap to clone.
#[derive(Debug, Clone)]
pub struct DatabaseMetrics {
    statements: Family<StatementLabels, Histogram>,
    wait: Histogram,
    acquire_timeouts: Counter,
    connections_made: Counter,
    pool: PoolGauges,
}

impl DatabaseMetrics {
    /// Registers everything at `registry`; the pool's gauges read zero until the pool is made.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = DatabaseMetrics {
            statements: Family::new_with_constructor(|| Histogram::new(STATEMENT_BUCKETS)),
            wait: Histogram::new(STATEMENT_BUCKETS),
            acquire_timeouts: Counter::default(),
            connections_made: Counter::default(),
            pool: PoolGauges::default(),
        };
        registry.register_with_unit(
            "db_client_operation_duration",
            "Duration of database statements by name",
            Unit::Seconds,
            metrics.statements.clone(),
        );
        registry.register_with_unit(
            "db_client_connection_wait_time",
            "Time a caller waited for a connection from the pool",
            Unit::Seconds,
            metrics.wait.clone(),
        );
        registry.register(
            "db_client_connection_timeouts",
            "Callers that got no connection within the acquire timeout",
            metrics.acquire_timeouts.clone(),
        );
        registry.register(
            "observastack_database_connections_made",
            "Connections opened to the database, with a log-in each",
            metrics.connections_made.clone(),
        );
        registry.register_collector(Box::new(metrics.pool.clone()));
        metrics
    }

    pub(super) fn statement_done(
        &self,
        statement: &'static str,
        error_type: &'static str,
        took: Duration,
    ) {
        let labels = StatementLabels {
            db_query_summary: statement,
            error_type,
        };
        self.statements
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub(super) fn waited(&self, waited: Duration) {
        self.wait.observe(waited.as_secs_f64());
    }

    pub(super) fn acquire_timed_out(&self) {
        self.acquire_timeouts.inc();
    }

    pub(super) fn connection_made(&self) {
        self.connections_made.inc();
    }

    pub(super) fn watch(&self, pool: Weak<CurrentPool>) {
        *self.pool.0.lock().unwrap_or_else(PoisonError::into_inner) = pool;
    }
}

/// Reads the pool at each scrape. Weak, so that the registry does not keep a dropped pool's connections open.
#[derive(Debug, Clone, Default)]
struct PoolGauges(Arc<Mutex<Weak<CurrentPool>>>);

impl Collector for PoolGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let pool = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade();
        let status = pool.map(|pool| pool.load().status());
        let (size, idle, most, waiting) = status.map_or((0, 0, 0, 0), |s| {
            (s.size, s.available, s.max_size, s.waiting)
        });

        let by_state = Family::<StateLabels, Gauge>::default();
        by_state
            .get_or_create(&StateLabels {
                db_client_connection_state: "idle",
            })
            .set(gauge(idle));
        by_state
            .get_or_create(&StateLabels {
                db_client_connection_state: "used",
            })
            .set(gauge(size.saturating_sub(idle)));
        let family_encoder = encoder.encode_descriptor(
            "db_client_connection_count",
            "Open connections in the pool by state",
            None,
            by_state.metric_type(),
        )?;
        by_state.encode(family_encoder)?;

        let singles = [
            (
                "db_client_connection_max",
                "Most connections the pool may open",
                most,
            ),
            (
                "db_client_connection_pending_requests",
                "Callers waiting for a connection",
                waiting,
            ),
        ];
        for (name, help, value) in singles {
            let gauge = ConstGauge::new(gauge(value));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
