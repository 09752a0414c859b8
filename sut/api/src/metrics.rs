//! The API server's own figures.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::settings::Algorithm;

/// Upper bounds in seconds for calls to the inventory: OpenTelemetry's, and two below.
const CALL_BUCKETS: [f64; 13] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Upper bounds in seconds for reports, which take milliseconds with one algorithm and seconds with the other.
const REPORT_BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Counters and histograms of the API server; cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiMetrics {
    calls: Family<CallLabels, Histogram>,
    retries: Family<RetryLabels, Counter>,
    orders: Family<OutcomeLabels, Counter>,
    compensations: Family<OutcomeLabels, Counter>,
    stock_unknown: Counter,
    report_compute: Family<AlgorithmLabels, Histogram>,
    reports_waiting: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    http_request_method: String,
    url_template: &'static str,
    /// 0 without an answer.
    http_response_status_code: u16,
    /// Empty with one.
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RetryLabels {
    error_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlgorithmLabels {
    algorithm: &'static str,
}

impl ApiMetrics {
    /// Registers everything at `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = ApiMetrics {
            calls: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            retries: Family::default(),
            orders: Family::default(),
            compensations: Family::default(),
            stock_unknown: Counter::default(),
            report_compute: Family::new_with_constructor(|| Histogram::new(REPORT_BUCKETS)),
            reports_waiting: Gauge::default(),
        };
        registry.register_with_unit(
            "http_client_request_duration",
            "Duration of each attempt to call the inventory",
            Unit::Seconds,
            metrics.calls.clone(),
        );
        registry.register(
            "observastack_api_inventory_retries",
            "Calls to the inventory that were repeated, by what went wrong before",
            metrics.retries.clone(),
        );
        registry.register(
            "observastack_api_orders",
            "Orders by what became of them",
            metrics.orders.clone(),
        );
        registry.register(
            "observastack_api_compensations",
            "Reservations to give back: released, not_needed (the order was written), gave_up",
            metrics.compensations.clone(),
        );
        registry.register(
            "observastack_api_stock_unknown",
            "Products shown without their stock because the inventory gave no answer",
            metrics.stock_unknown.clone(),
        );
        registry.register_with_unit(
            "observastack_api_report_compute_duration",
            "Computing a sales report, without reading the orders",
            Unit::Seconds,
            metrics.report_compute.clone(),
        );
        registry.register(
            "observastack_api_reports_waiting",
            "Reports that wait for their turn",
            metrics.reports_waiting.clone(),
        );
        metrics
    }

    pub(crate) fn inventory_called(
        &self,
        method: &str,
        url_template: &'static str,
        status: u16,
        error_type: &'static str,
        took: Duration,
    ) {
        let labels = CallLabels {
            http_request_method: method.to_owned(),
            url_template,
            http_response_status_code: status,
            error_type,
        };
        self.calls
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub(crate) fn inventory_retry(&self, error_type: &'static str) {
        self.retries
            .get_or_create(&RetryLabels { error_type })
            .inc();
    }

    pub(crate) fn order(&self, outcome: &'static str) {
        self.orders.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn compensation(&self, outcome: &'static str) {
        self.compensations
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn stock_unknown(&self) {
        self.stock_unknown.inc();
    }

    pub(crate) fn report_computed(&self, algorithm: Algorithm, took: Duration) {
        let labels = AlgorithmLabels {
            algorithm: algorithm.as_str(),
        };
        self.report_compute
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub(crate) fn reports_waiting(&self) -> &Gauge {
        &self.reports_waiting
    }
}
