//! The access log: a record for each request, written by a task of its own.
//!
//! Writing to the journal is a blocking system call, so the phases only put records into a bounded channel. When the log
//! cannot keep up records are dropped and counted, and requests go on.

use std::time::Duration;

use observastack_telemetry::traces::{self, TracedSpan};
use pingora::proxy::Session;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{context::RequestContext, metrics::GatewayMetrics};

const CAPACITY: usize = 4_096;

/// What the log says about one request.
#[derive(Debug)]
pub struct Record {
    request_id: String,
    span: TracedSpan,
    client: String,
    method: String,
    path: String,
    route: &'static str,
    status: u16,
    duration_us: u64,
    request_bytes: u64,
    response_bytes: u64,
    upstream: String,
    attempts: usize,
    config_version: u64,
    error_kind: &'static str,
    error: String,
}

impl Record {
    /// The record of a finished request. The query stays out: it may hold what must not be logged.
    pub fn new(session: &Session, ctx: &RequestContext, status: u16, elapsed: Duration) -> Self {
        let identity = &ctx.identity;
        let span = identity.span.clone().unwrap_or_else(traces::current);
        let head = session.req_header();
        Self {
            request_id: identity.request_id.clone(),
            span,
            client: identity
                .client
                .map(|client| client.to_string())
                .unwrap_or_default(),
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            route: identity.route,
            status,
            duration_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            request_bytes: ctx.body_bytes,
            response_bytes: session.body_bytes_sent() as u64,
            upstream: ctx.upstream_name().to_owned(),
            attempts: ctx.attempts,
            config_version: ctx.config.version,
            error_kind: ctx.failure.as_ref().map_or("", |failure| failure.kind),
            error: ctx
                .failure
                .as_ref()
                .map_or_else(String::new, |failure| failure.message.clone()),
        }
    }

    fn emit(&self) {
        // `served_under_version` is the version that held for the request; the log adds the current one to every record.
        macro_rules! emit {
            ($level:ident, $($more:tt)*) => {
                tracing::$level!(
                    target: "access",
                    request_id = self.request_id,
                    trace_id = self.span.trace_id(),
                    span_id = self.span.span_id(),
                    client = self.client,
                    http_method = self.method,
                    http_path = self.path,
                    http_route = self.route,
                    http_status = self.status,
                    duration_us = self.duration_us,
                    request_bytes = self.request_bytes,
                    response_bytes = self.response_bytes,
                    upstream = self.upstream,
                    attempts = self.attempts,
                    served_under_version = self.config_version,
                    $($more)*
                    "{} {} {}", self.method, self.path, self.status
                )
            };
        }
        match self.status {
            _ if self.error_kind.is_empty() => emit!(info,),
            500.. => emit!(warn, error_kind = self.error_kind, error = self.error,),
            _ => emit!(info, error_kind = self.error_kind, error = self.error,),
        }
    }
}

/// Where phases put their records.
#[derive(Debug, Clone)]
pub struct AccessLog {
    records: mpsc::Sender<Record>,
    metrics: GatewayMetrics,
}

impl AccessLog {
    /// Starts the writer. It ends, with everything written, when all clones of the log are gone.
    pub fn start(metrics: GatewayMetrics) -> (Self, JoinHandle<()>) {
        let (records, mut incoming) = mpsc::channel::<Record>(CAPACITY);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(record) = incoming.blocking_recv() {
                record.span.within(|| record.emit());
            }
        });
        (Self { records, metrics }, writer)
    }

    /// Never blocks.
    pub fn write(&self, record: Record) {
        if self.records.try_send(record).is_err() {
            self.metrics.access_log_dropped();
        }
    }
}
