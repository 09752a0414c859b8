//! What is measured, for Prometheus: RED by journey and request, and what the generator says of itself.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use observastack_telemetry::metrics::{self, Registry};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    stats::{EndpointStats, Stats, Times},
    workload::Workload,
};

/// One of the times of an endpoint.
type TimesOf = fn(&EndpointStats) -> &Times;

/// Upper ends of the buckets, in seconds.
const BUCKETS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Everything that was measured so far, as it is told to Prometheus. Clones share it.
#[derive(Clone, Debug)]
pub struct Exposed(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Journey and step of each endpoint.
    names: Vec<(String, String)>,
    stats: Stats,
    rate: Option<f64>,
    is_running: bool,
}

impl Exposed {
    /// Of a workload.
    #[must_use]
    pub fn new(workload: &Workload) -> Self {
        let exposed = Self(Arc::default());
        exposed.begin(workload);
        exposed
    }

    /// Of none yet.
    #[must_use]
    pub fn idle() -> Self {
        Self(Arc::default())
    }

    /// Another run begins: its counters begin at 0, which Prometheus takes for a restart.
    pub fn begin(&self, workload: &Workload) {
        let names = workload.journeys.iter().flat_map(|journey| {
            let steps = journey.steps.iter();
            steps.map(|step| (journey.name.clone(), step.name.clone()))
        });
        *self.lock() = State {
            names: names.collect(),
            stats: Stats::new(workload.endpoints(), workload.journeys.len()),
            rate: None,
            is_running: true,
        };
    }

    /// Adds what was measured since the last time.
    pub fn add(&self, stats: &Stats) {
        self.lock().stats.add(stats);
    }

    /// Everything that was measured so far.
    pub fn with_stats<T>(&self, look: impl FnOnce(&Stats) -> T) -> T {
        look(&self.lock().stats)
    }

    /// What is asked for now.
    pub fn asked(&self, rate: Option<f64>) {
        self.lock().rate = rate;
    }

    /// The run is over; what was measured stays.
    pub fn end(&self) {
        let mut state = self.lock();
        state.is_running = false;
        state.rate = None;
    }

    /// Answers `/metrics` there from now on, until the runtime ends.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn serve(&self, address: SocketAddr) -> io::Result<()> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let mut registry = metrics::registry("observastack-loadgen", env!("CARGO_PKG_VERSION"));
        self.register(&mut registry);
        let registry = Arc::new(registry);
        let answer = async move || {
            (
                [(CONTENT_TYPE, metrics::CONTENT_TYPE)],
                metrics::encode(&registry),
            )
        };
        let router = Router::new().route("/metrics", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(())
    }

    fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Exposed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let state = self.lock();
        let endpoints = || state.names.iter().zip(&state.stats.endpoints);
        let labels = |(journey, step): &(String, String)| {
            [("journey", journey.clone()), ("request", step.clone())]
        };

        let mut due = encoder.encode_descriptor(
            "observastack_loadgen_due_requests",
            "Requests that were due",
            None,
            MetricType::Counter,
        )?;
        for (names, stats) in endpoints() {
            ConstCounter::new(stats.due).encode(due.encode_family(&labels(names))?)?;
        }
        let mut answers = encoder.encode_descriptor(
            "observastack_loadgen_answers",
            "Answers, by status",
            None,
            MetricType::Counter,
        )?;
        for (names, stats) in endpoints() {
            for (status, count) in &stats.statuses {
                let [journey, request] = labels(names);
                let labels = [journey, request, ("status", status.to_string())];
                ConstCounter::new(*count).encode(answers.encode_family(&labels)?)?;
            }
        }
        let mut errors = encoder.encode_descriptor(
            "observastack_loadgen_errors",
            "Requests without the answer that was asked for, by the kind of error",
            None,
            MetricType::Counter,
        )?;
        for (names, stats) in endpoints() {
            for (kind, count) in &stats.errors {
                let [journey, request] = labels(names);
                let labels = [journey, request, ("kind", kind.name().to_owned())];
                ConstCounter::new(*count).encode(errors.encode_family(&labels)?)?;
            }
        }
        let times: [(&str, &str, TimesOf); 2] = [
            (
                "observastack_loadgen_response_seconds",
                "From when a request was due to the end of its answer",
                |stats| &stats.response,
            ),
            (
                "observastack_loadgen_service_seconds",
                "From when a request was sent to the end of its answer",
                |stats| &stats.service,
            ),
        ];
        for (name, help, of) in times {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (names, stats) in endpoints() {
                Buckets(of(stats)).encode(family.encode_family(&labels(names))?)?;
            }
        }
        let stats = &state.stats;
        for (name, help, value) in [
            ("retries", "Requests that were repetitions", stats.retries),
            (
                "abandoned_requests",
                "Requests whose client went away on purpose",
                stats.abandoned,
            ),
            (
                "opened_connections",
                "Connections that were opened",
                stats.connections,
            ),
        ] {
            let name = format!("observastack_loadgen_{name}");
            let family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(family)?;
        }
        let family = encoder.encode_descriptor(
            "observastack_loadgen_lateness_seconds",
            "How late the generator itself was with a request",
            None,
            MetricType::Histogram,
        )?;
        Buckets(&stats.schedule).encode(family)?;
        for (name, help, value) in [
            (
                "asked_rate",
                "Journeys a second that are asked for; 0 in a closed loop",
                state.rate.unwrap_or(0.0),
            ),
            (
                "running",
                "Whether there is a load",
                f64::from(u8::from(state.is_running)),
            ),
        ] {
            let name = format!("observastack_loadgen_{name}");
            let family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family)?;
        }
        Ok(())
    }
}

/// Times as a histogram of the exposition format.
struct Buckets<'a>(&'a Times);

impl EncodeMetric for Buckets<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let times = self.0;
        let mut below = 0;
        let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(BUCKETS.len() + 1);
        for end in BUCKETS {
            let count = times.count_up_to(std::time::Duration::from_secs_f64(end));
            buckets.push((end, count - below));
            below = count;
        }
        buckets.push((f64::INFINITY, times.count() - below));
        let sum = times.mean().as_secs_f64() * times.count() as f64;
        encoder.encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{http::Template, stats::ErrorKind, workload::Step};

    #[test]
    fn what_is_measured_is_told_by_request() {
        let exposed = Exposed::new(&Workload::of(Step::new("GET /", Template::raw(b"")), 1));
        let mut stats = Stats::new(1, 1);
        stats.is_due(0);
        stats.is_due(0);
        let ms = Duration::from_millis(3);
        stats.answer(0, 200, ms, ms);
        stats.error(0, ErrorKind::Timeout);
        exposed.add(&stats);
        let mut registry = Registry::default();
        exposed.register(&mut registry);
        let text = metrics::encode(&registry);
        for line in [
            "observastack_loadgen_due_requests_total{journey=\"GET /\",request=\"GET /\"} 2",
            "observastack_loadgen_answers_total{journey=\"GET /\",request=\"GET /\",status=\"200\"} 1",
            "observastack_loadgen_errors_total{journey=\"GET /\",request=\"GET /\",kind=\"timeout\"} 1",
            "observastack_loadgen_response_seconds_bucket{le=\"0.0025\",journey=\"GET /\",request=\"GET /\"} 0",
            "observastack_loadgen_response_seconds_bucket{le=\"0.005\",journey=\"GET /\",request=\"GET /\"} 1",
            "observastack_loadgen_response_seconds_count{journey=\"GET /\",request=\"GET /\"} 1",
            "observastack_loadgen_response_seconds_bucket{le=\"+Inf\",journey=\"GET /\",request=\"GET /\"} 1",
            "observastack_loadgen_running 1",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
    }
}
