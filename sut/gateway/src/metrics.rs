//! What the gateway counts, beside the HTTP server family that every service of the shop has.

use std::net::SocketAddr;

use observastack_telemetry::metrics::HttpMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::config::RetryOn;

/// Upper bounds in seconds, OpenTelemetry's with two below for a neighbour on the same host.
const BUCKETS_SECONDS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// All metric families. Cheap to clone: the clones share their values.
#[derive(Debug, Clone)]
pub struct GatewayMetrics {
    /// `http_server_request_duration_seconds` and `http_server_active_requests`.
    pub http: HttpMetrics,
    upstream_requests: Family<OutcomeLabels, Counter>,
    upstream_duration: Family<ServerLabels, Histogram, fn() -> Histogram>,
    upstream_connections: Family<ConnectionLabels, Counter>,
    upstream_healthy: Family<UpstreamLabels, Gauge>,
    retries: Family<ReasonLabels, Counter>,
    budget_exhausted: Family<ReasonLabels, Counter>,
    rate_limited: Family<ScopeLabels, Counter>,
    overloaded: Counter,
    access_log_dropped: Counter,
}

/// How one attempt at an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
pub enum Outcome {
    /// An answer below 400.
    success,
    /// An answer of 400 to 499.
    client_error,
    /// An answer of 500 and above.
    server_error,
    /// No connection.
    connect_failure,
    /// No answer in time.
    timeout,
    /// The connection broke.
    reset,
    /// The client went away first.
    client_abort,
    /// A fault of the gateway.
    internal,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::success,
        Self::client_error,
        Self::server_error,
        Self::connect_failure,
        Self::timeout,
        Self::reset,
        Self::client_abort,
        Self::internal,
    ];

    /// Its name, as the label has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::success => "success",
            Self::client_error => "client_error",
            Self::server_error => "server_error",
            Self::connect_failure => "connect_failure",
            Self::timeout => "timeout",
            Self::reset => "reset",
            Self::client_abort => "client_abort",
            Self::internal => "internal",
        }
    }

    /// The outcome of an attempt that was answered with `status`.
    pub fn of_status(status: u16) -> Self {
        match status {
            ..400 => Self::success,
            400..500 => Self::client_error,
            500.. => Self::server_error,
        }
    }
}

/// Which limit turned a request away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
pub enum LimitScope {
    /// The limit of all requests together.
    global,
    /// The limit of one client address.
    client,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    upstream: String,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    upstream: String,
}

/// OpenTelemetry's names, on the metric that is OpenTelemetry's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServerLabels {
    server_address: String,
    server_port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    upstream: String,
    reused: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScopeLabels {
    scope: LimitScope,
}

impl GatewayMetrics {
    /// Makes the families and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            http: HttpMetrics::register(registry),
            upstream_requests: Family::default(),
            upstream_duration: Family::new_with_constructor(|| Histogram::new(BUCKETS_SECONDS)),
            upstream_connections: Family::default(),
            upstream_healthy: Family::default(),
            retries: Family::default(),
            budget_exhausted: Family::default(),
            rate_limited: Family::default(),
            overloaded: Counter::default(),
            access_log_dropped: Counter::default(),
        };
        metrics.register_all(registry);
        // A rate over a series that appears with its first event misses that event: start them all at 0.
        for reason in [
            RetryOn::ConnectFailure,
            RetryOn::Reset,
            RetryOn::Timeout,
            RetryOn::Status,
        ] {
            let _ = metrics.retries.get_or_create(&ReasonLabels::of(reason));
            let _ = metrics
                .budget_exhausted
                .get_or_create(&ReasonLabels::of(reason));
        }
        for scope in [LimitScope::global, LimitScope::client] {
            let _ = metrics.rate_limited.get_or_create(&ScopeLabels { scope });
        }
        metrics
    }

    fn register_all(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "http_client_request_duration",
            "Time from an attempt's start to the head of the upstream's answer",
            Unit::Seconds,
            self.upstream_duration.clone(),
        );
        registry.register(
            "observastack_gateway_upstream_requests",
            "Attempts at an upstream by outcome, retries included",
            self.upstream_requests.clone(),
        );
        registry.register(
            "observastack_gateway_upstream_connections",
            "Connections used for attempts, new or reused",
            self.upstream_connections.clone(),
        );
        registry.register(
            "observastack_gateway_upstream_healthy",
            "1 while an upstream passes its health checks",
            self.upstream_healthy.clone(),
        );
        registry.register(
            "observastack_gateway_retries",
            "Attempts that were tried again, by what went wrong",
            self.retries.clone(),
        );
        registry.register(
            "observastack_gateway_retry_budget_exhausted",
            "Retries that the budget refused, by what went wrong",
            self.budget_exhausted.clone(),
        );
        registry.register(
            "observastack_gateway_rate_limited",
            "Requests answered 429, by the limit they ran into",
            self.rate_limited.clone(),
        );
        registry.register(
            "observastack_gateway_overloaded",
            "Requests answered 503 because too many were in flight",
            self.overloaded.clone(),
        );
        registry.register(
            "observastack_gateway_access_log_dropped",
            "Access log records given up because the log could not keep up",
            self.access_log_dropped.clone(),
        );
    }

    /// Counts the end of an attempt at `upstream`.
    pub fn attempt_ended(&self, upstream: &str, outcome: Outcome) {
        let labels = OutcomeLabels {
            upstream: upstream.to_owned(),
            outcome,
        };
        self.upstream_requests.get_or_create(&labels).inc();
    }

    /// Records the time to the head of an upstream's answer.
    pub fn answered_after(&self, upstream: SocketAddr, seconds: f64) {
        self.upstream_duration
            .get_or_create(&ServerLabels::of(upstream))
            .observe(seconds);
    }

    /// Counts a connection used for an attempt.
    pub fn connected(&self, upstream: &str, reused: bool) {
        let labels = ConnectionLabels {
            upstream: upstream.to_owned(),
            reused: if reused { "true" } else { "false" },
        };
        self.upstream_connections.get_or_create(&labels).inc();
    }

    /// Sets whether an upstream is healthy.
    pub fn set_healthy(&self, upstream: &str, healthy: bool) {
        self.upstream_healthy
            .get_or_create(&UpstreamLabels::of(upstream))
            .set(i64::from(healthy));
    }

    /// Drops the series of an upstream that is no longer configured.
    pub fn forget(&self, upstream: SocketAddr) {
        self.upstream_duration.remove(&ServerLabels::of(upstream));
        let upstream = upstream.to_string();
        self.upstream_healthy.remove(&UpstreamLabels::of(&upstream));
        for outcome in Outcome::ALL {
            self.upstream_requests.remove(&OutcomeLabels {
                upstream: upstream.clone(),
                outcome,
            });
        }
        for reused in ["true", "false"] {
            self.upstream_connections.remove(&ConnectionLabels {
                upstream: upstream.clone(),
                reused,
            });
        }
    }

    /// Counts a retry.
    pub fn retried(&self, reason: RetryOn) {
        self.retries.get_or_create(&ReasonLabels::of(reason)).inc();
    }

    /// Counts a retry that the budget refused.
    pub fn budget_exhausted(&self, reason: RetryOn) {
        self.budget_exhausted
            .get_or_create(&ReasonLabels::of(reason))
            .inc();
    }

    /// Counts a request turned away by a rate limit.
    pub fn rate_limited(&self, scope: LimitScope) {
        self.rate_limited
            .get_or_create(&ScopeLabels { scope })
            .inc();
    }

    /// Counts a request turned away because too many were in flight.
    pub fn overloaded(&self) {
        self.overloaded.inc();
    }

    /// Counts an access log record that was given up.
    pub fn access_log_dropped(&self) {
        self.access_log_dropped.inc();
    }
}

impl UpstreamLabels {
    fn of(upstream: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
        }
    }
}

impl ServerLabels {
    fn of(upstream: SocketAddr) -> Self {
        Self {
            server_address: upstream.ip().to_string(),
            server_port: upstream.port(),
        }
    }
}

impl ReasonLabels {
    fn of(reason: RetryOn) -> Self {
        let reason = match reason {
            RetryOn::ConnectFailure => "connect_failure",
            RetryOn::Reset => "reset",
            RetryOn::Timeout => "timeout",
            RetryOn::Status => "status",
        };
        Self { reason }
    }
}
