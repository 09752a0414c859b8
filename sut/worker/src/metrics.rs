//! The worker's own figures.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::queue::Waiting;

/// Upper bounds in seconds: a confirmation takes a few hundredths of a second, and minutes where it has to wait.
const DELAY_BUCKETS: [f64; 13] = [
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
];

/// What becomes of deliveries; each is there from the start, so that its first one is seen as growth.
const OUTCOMES: [&str; 3] = ["sent", "failed", "given_up"];

/// Counters, gauges and histograms of the worker; cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    waiting: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    given_up: Gauge,
    delay: Histogram,
    outcomes: Family<OutcomeLabels, Counter>,
    workers: Gauge,
    busy: Gauge,
    runs: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// A delivery that is under way.
#[derive(Debug)]
pub(crate) struct Busy(Gauge);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl WorkerMetrics {
    /// Registers everything at `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = WorkerMetrics {
            waiting: Gauge::default(),
            oldest: Gauge::default(),
            given_up: Gauge::default(),
            delay: Histogram::new(DELAY_BUCKETS),
            outcomes: Family::default(),
            workers: Gauge::default(),
            busy: Gauge::default(),
            runs: Counter::default(),
        };
        for outcome in OUTCOMES {
            drop(metrics.outcomes.get_or_create(&OutcomeLabels { outcome }));
        }
        registry.register(
            "observastack_confirmations_waiting",
            "Confirmations that wait to be sent, as the table was last seen",
            metrics.waiting.clone(),
        );
        registry.register_with_unit(
            "observastack_confirmations_oldest",
            "How long the oldest of them has waited, as the table was last seen",
            Unit::Seconds,
            metrics.oldest.clone(),
        );
        registry.register(
            "observastack_confirmations_given_up",
            "Confirmations in the table that nobody tries to send any more",
            metrics.given_up.clone(),
        );
        registry.register_with_unit(
            "observastack_confirmation_delay",
            "Time from an order to its confirmation",
            Unit::Seconds,
            metrics.delay.clone(),
        );
        registry.register(
            "observastack_confirmations",
            "Attempts to send a confirmation: sent, failed (is tried again), given_up",
            metrics.outcomes.clone(),
        );
        registry.register(
            "observastack_confirmation_workers",
            "Deliveries that may be under way at a time",
            metrics.workers.clone(),
        );
        registry.register(
            "observastack_confirmation_workers_busy",
            "Deliveries under way",
            metrics.busy.clone(),
        );
        registry.register(
            "observastack_recommendations_runs",
            "Computations of what is bought together",
            metrics.runs.clone(),
        );
        metrics
    }

    pub(crate) fn seen(&self, waiting: &Waiting) {
        self.waiting.set(waiting.count);
        self.oldest.set(waiting.oldest_seconds);
        self.given_up.set(waiting.given_up);
    }

    pub(crate) fn sent(&self, delay: Duration) {
        self.delay.observe(delay.as_secs_f64());
        self.outcome("sent");
    }

    /// Counts an attempt; `outcome` is one of [`OUTCOMES`].
    pub(crate) fn outcome(&self, outcome: &'static str) {
        self.outcomes
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn workers(&self, most: usize) {
        self.workers.set(i64::try_from(most).unwrap_or(i64::MAX));
    }

    /// Counts a delivery as under way until the answer is dropped.
    pub(crate) fn delivery_begins(&self) -> Busy {
        self.busy.inc();
        Busy(self.busy.clone())
    }

    pub(crate) fn computed(&self, runs: u64) {
        self.runs.inc_by(runs);
    }
}
