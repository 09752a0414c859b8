//! The RED metrics of an HTTP server: rate, errors and duration of its requests, and how many are in flight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds in seconds: OpenTelemetry's, with two more below for services that answer in under a millisecond.
const BUCKETS_SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Series of older configuration versions than this many are dropped, or each change would add to them for ever.
const VERSIONS_KEPT: usize = 8;

/// `http_server_request_duration_seconds` (histogram) and `http_server_active_requests` (gauge). Cheap to clone.
///
/// Labels: `http_request_method` (unknown methods are `_OTHER`), `http_route` (the template, never the path),
/// `http_response_status_code`, `config_version`. Rate and errors are the histogram's `_count`.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    durations: Family<Labels, Durations, fn() -> Durations>,
    active: Gauge,
    by_version: Arc<Mutex<BTreeMap<u64, Vec<Labels>>>>,
}

type Durations = HistogramWithExemplars<Exemplar>;

/// A trace that fell into a bucket, under the name that OpenMetrics and Grafana know.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Exemplar {
    trace_id: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    http_request_method: &'static str,
    http_route: &'static str,
    http_response_status_code: u16,
    config_version: u64,
}

/// A request being served, from [`HttpMetrics::in_flight`]; dropping it ends it.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl HttpMetrics {
    /// Makes the family and registers it.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            durations: Family::new_with_constructor(|| Durations::new(BUCKETS_SECONDS.into_iter())),
            active: Gauge::default(),
            by_version: Arc::default(),
        };
        registry.register_with_unit(
            "http_server_request_duration",
            "Duration of HTTP requests",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "http_server_active_requests",
            "HTTP requests being served",
            metrics.active.clone(),
        );
        metrics
    }

    /// Counts a request as active until the guard is dropped.
    #[must_use]
    pub fn in_flight(&self) -> InFlight {
        self.active.inc();
        InFlight(self.active.clone())
    }

    /// Records a finished request. `route` is its template, e.g. `/products/{id}`; `trace_id` is that of a sampled trace, and
    /// becomes the exemplar of its bucket.
    pub fn observe(
        &self,
        method: &str,
        route: &'static str,
        status: u16,
        config_version: u64,
        elapsed: Duration,
        trace_id: Option<String>,
    ) {
        let labels = Labels {
            http_request_method: known_method(method),
            http_route: route,
            http_response_status_code: status,
            config_version,
        };
        let seconds = elapsed.as_secs_f64();
        let exemplar = trace_id.map(|trace_id| Exemplar { trace_id });
        let now = exemplar.is_some().then(SystemTime::now);
        if let Some(histogram) = self.durations.get(&labels) {
            histogram.observe(seconds, exemplar, now);
            return;
        }
        if self.admit(&labels) {
            self.durations
                .get_or_create(&labels)
                .observe(seconds, exemplar, now);
        }
    }

    /// Notes a new series, dropping the oldest version's; `false` when this one's version is already too old.
    fn admit(&self, labels: &Labels) -> bool {
        let mut by_version = self
            .by_version
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let series = by_version.entry(labels.config_version).or_default();
        if !series.contains(labels) {
            series.push(labels.clone());
        }
        while by_version.len() > VERSIONS_KEPT {
            let Some((_, dropped)) = by_version.pop_first() else {
                break;
            };
            for labels in dropped {
                self.durations.remove(&labels);
            }
        }
        by_version.contains_key(&labels.config_version)
    }
}

/// The method as a label: OpenTelemetry's known ones as they are, any other as `_OTHER`.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    fn observed(metrics: &HttpMetrics, method: &str, version: u64) {
        metrics.observe(
            method,
            "/products/{id}",
            200,
            version,
            Duration::from_millis(30),
            None,
        );
    }

    #[test]
    fn a_request_is_counted_under_its_template_status_and_config_version() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        observed(&metrics, "GET", 3);
        observed(&metrics, "GET", 3);
        observed(&metrics, "BREW", 3);
        let text = encode(&registry);
        let series = |name: &str, method: &str, more: &str| {
            format!(
                "{name}{{{more}http_request_method=\"{method}\",http_route=\"/products/{{id}}\",\
                 http_response_status_code=\"200\",config_version=\"3\"}}"
            )
        };
        let count = "http_server_request_duration_seconds_count";
        assert!(
            text.contains(&format!("{} 2\n", series(count, "GET", ""))),
            "{text}"
        );
        assert!(
            text.contains(&format!("{} 1\n", series(count, "_OTHER", ""))),
            "{text}"
        );
        let bucket = "http_server_request_duration_seconds_bucket";
        assert!(
            text.contains(&format!("{} 0\n", series(bucket, "GET", "le=\"0.025\","))),
            "{text}"
        );
        assert!(
            text.contains(&format!("{} 2\n", series(bucket, "GET", "le=\"0.05\","))),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn requests_in_flight_are_counted_until_their_guard_is_dropped() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        let first = metrics.in_flight();
        let second = metrics.in_flight();
        assert!(encode(&registry).contains("http_server_active_requests 2\n"));
        drop((first, second));
        assert!(encode(&registry).contains("http_server_active_requests 0\n"));
    }

    #[test]
    fn series_of_old_config_versions_are_dropped_so_that_changes_do_not_add_up() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        for version in 1..=100 {
            observed(&metrics, "GET", version);
            observed(&metrics, "POST", version);
        }
        // A request that began under a version long gone must not bring it back.
        observed(&metrics, "GET", 5);
        let text = encode(&registry);
        let counts = text.lines().filter(|line| line.contains("_count{")).count();
        assert_eq!(counts, VERSIONS_KEPT * 2);
        assert!(
            text.contains("config_version=\"100\"") && !text.contains("config_version=\"92\""),
            "{text}"
        );
    }

    #[test]
    fn a_sampled_trace_is_the_exemplar_of_its_bucket() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry);
        let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let took = Duration::from_millis(20);
        metrics.observe("GET", "/a", 200, 1, took, Some(trace_id.to_owned()));
        metrics.observe("GET", "/a", 200, 1, Duration::from_millis(2), None);
        let text = encode(&registry);
        let exemplars: Vec<&str> = text.lines().filter(|line| line.contains(" # {")).collect();
        assert_eq!(exemplars.len(), 1, "{text}");
        assert!(exemplars[0].contains("le=\"0.025\"") && exemplars[0].contains(trace_id));
    }
}
