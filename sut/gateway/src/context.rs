//! What one request carries from phase to phase.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use observastack_kit::config::Versioned;
use observastack_telemetry::{
    metrics::InFlight,
    traces::{self, TracedSpan},
};
use pingora::proxy::Session;

use crate::{
    config::GatewayConfig, failure::Failure, metrics::Outcome, request_id, routes,
    upstreams::Upstream,
};

/// The state of one request. Made by pingora when the request begins, dropped when it is over.
pub struct RequestContext {
    /// When the request began.
    pub started: Instant,
    /// The configuration that holds for the whole request.
    pub config: Arc<Versioned<GatewayConfig>>,
    /// Who it is; empty until the first phase has read the request's head.
    pub identity: Identity,
    /// Counts the request as in flight for as long as the context lives.
    pub admission: Option<Admission>,
    /// Attempts begun, retries included.
    pub attempts: usize,
    /// The upstreams that the attempts went to.
    pub tried: Vec<SocketAddr>,
    /// The attempt under way.
    pub attempt: Option<Attempt>,
    /// Bytes of the request's body read so far.
    pub body_bytes: u64,
    /// Why the gateway itself answered, if it did.
    pub failure: Option<Failure>,
}

/// What is known of a request from its head.
#[derive(Debug, Default)]
pub struct Identity {
    /// Value of `x-request-id`.
    pub request_id: String,
    /// The gateway's span.
    pub span: Option<TracedSpan>,
    /// The route's template.
    pub route: &'static str,
    /// The client's address.
    pub client: Option<IpAddr>,
}

impl Identity {
    /// Reads the request's head.
    pub fn of(session: &Session) -> Self {
        let head = session.req_header();
        let route = routes::template(head.uri.path());
        Self {
            request_id: request_id::accept_or_create(&head.headers),
            span: Some(traces::server(&head.headers, head.method.as_str(), route)),
            route,
            client: session
                .client_addr()
                .and_then(|address| address.as_inet())
                .map(SocketAddr::ip),
        }
    }
}

/// One attempt at one upstream.
pub struct Attempt {
    /// Where it went.
    pub upstream: Arc<Upstream>,
    /// The call to it.
    pub span: TracedSpan,
    /// When it began.
    pub started: Instant,
    /// The status of the upstream's answer, once its head is there.
    pub status: Option<u16>,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
}

impl Attempt {
    /// An attempt that begins now.
    pub fn new(upstream: Arc<Upstream>, span: TracedSpan) -> Self {
        Self {
            upstream,
            span,
            started: Instant::now(),
            status: None,
            outcome: None,
        }
    }
}

impl RequestContext {
    /// A request that begins now, under `config`.
    pub fn new(config: Arc<Versioned<GatewayConfig>>) -> Self {
        Self {
            started: Instant::now(),
            config,
            identity: Identity::default(),
            admission: None,
            attempts: 0,
            tried: Vec::new(),
            attempt: None,
            body_bytes: 0,
            failure: None,
        }
    }

    /// What is left of `timeouts.total_ms`.
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(self.config.config.timeouts.total_ms)
            .saturating_sub(self.started.elapsed())
    }

    /// Ends the attempt under way, and its span; `None` where none is, or it has ended.
    pub fn end_attempt(&mut self, outcome: Outcome) -> Option<&Attempt> {
        let attempt = self.attempt.as_mut()?;
        if attempt.outcome.is_some() {
            return None;
        }
        attempt.outcome = Some(outcome);
        match attempt.status {
            Some(status) => attempt.span.answered(status, status >= 400),
            None => attempt.span.failed(outcome.name(), String::new),
        }
        attempt.span.end();
        Some(attempt)
    }

    /// The name of the upstream of the current or last attempt, or an empty string.
    pub fn upstream_name(&self) -> &str {
        self.attempt
            .as_ref()
            .map_or("", |attempt| &attempt.upstream.name)
    }
}

/// A request's place among those in flight; gives it back when dropped.
pub struct Admission {
    count: Arc<AtomicUsize>,
    _gauge: InFlight,
}

impl Admission {
    /// Takes a place if fewer than `max` are taken.
    pub fn try_new(count: &Arc<AtomicUsize>, max: usize, gauge: InFlight) -> Option<Self> {
        let admission = Self {
            count: Arc::clone(count),
            _gauge: gauge,
        };
        // On refusal the drop of `admission` takes the count back.
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(admission)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
