//! One connection: its requests, its timeouts, its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use observastack_telemetry::metrics::{HttpMetrics, InFlight};
use observastack_telemetry::traces::{self, TracedSpan};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{Instrument, Level};

use super::router::{Found, Table, method_not_allowed};
use super::{HttpError, Options, Request, Response};
use crate::lifecycle::stopped;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) table: Table,
    pub(super) config_version: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(super) metrics: Option<HttpMetrics>,
}

/// Serves a connection to its end. After the stop it finishes the request in flight, no more.
pub(super) async fn serve<I: AsyncRead + AsyncWrite + Unpin>(
    io: Tracked<I>,
    peer: Option<SocketAddr>,
    shared: Arc<Shared>,
    options: Options,
    mut shutdown: watch::Receiver<bool>,
) {
    let activity = Arc::clone(&io.activity);
    let service = service_fn(|request| {
        let (shared, activity) = (Arc::clone(&shared), Arc::clone(&activity));
        let body_timeout = options.body_read_timeout;
        async move {
            activity.request_began();
            let response = answer(&shared, request, peer, body_timeout).await;
            activity.request_ended();
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .keep_alive(options.keep_alive)
            .serve_connection(TokioIo::new(io), service)
    );
    let mut draining = false;
    let mut checks = tokio::time::interval(check_period(&options));
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, ?peer, "a connection ended early");
                }
                return;
            }
            () = stopped(&mut shutdown), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = checks.tick() => if activity.is_overdue(&options) {
                tracing::debug!(?peer, "a connection is closed: idle, or too slow with its headers");
                return;
            }
        }
    }
}

/// hyper has one timeout for being idle and for sending headers; ours are two, and looked at this often.
fn check_period(options: &Options) -> Duration {
    let shortest = options.header_read_timeout.min(options.keep_alive_timeout);
    (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

async fn answer(
    shared: &Shared,
    request: hyper::Request<Incoming>,
    peer: Option<SocketAddr>,
    body_timeout: Duration,
) -> Response {
    let (head, body) = request.into_parts();
    let found = shared.table.find(&head.method, head.uri.path());
    let mut record = Record::new(shared, &head, peer, found.label());
    let outcome = match found {
        Found::Route(route, params) => {
            let config_version = record.config_version;
            let body = Some(body);
            let work = (route.handler)(Request {
                head,
                body,
                params,
                peer,
                config_version,
                body_timeout,
            });
            let log_context = record.log_context.clone();
            record.span.around(work).instrument(log_context).await
        }
        Found::Method(_, allowed) => Err(method_not_allowed(&head.method, &allowed)),
        Found::Nothing => Err(HttpError::new(
            StatusCode::NOT_FOUND,
            format!("no such path: {}", head.uri.path()),
        )),
    };
    let response = outcome.unwrap_or_else(|error| {
        record.error = error.status.is_server_error().then(|| error.chain());
        (shared.table.render_error)(error).into_response()
    });
    record.status = Some(response.status());
    response
}

/// A request's entry in metrics and log, made when it is dropped: also when the client went away or a handler panicked.
struct Record<'a> {
    shared: &'a Shared,
    // These share the request's buffer: nothing is copied.
    method: Method,
    uri: Uri,
    request_id: Option<HeaderValue>,
    span: TracedSpan,
    /// Puts the trace's id on every line that is logged for the request.
    log_context: tracing::Span,
    peer: Option<SocketAddr>,
    route: &'static str,
    config_version: u64,
    started: Instant,
    status: Option<StatusCode>,
    error: Option<String>,
    _in_flight: Option<InFlight>,
}

/// nginx's status for a client that did not wait for the answer.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl<'a> Record<'a> {
    fn new(
        shared: &'a Shared,
        head: &Parts,
        peer: Option<SocketAddr>,
        route: &'static str,
    ) -> Self {
        let span = traces::server(&head.headers, head.method.as_str(), route);
        let log_context = tracing::info_span!(
            "request",
            trace_id = span.trace_id(),
            span_id = span.span_id()
        );
        Self {
            shared,
            method: head.method.clone(),
            uri: head.uri.clone(),
            request_id: head.headers.get("x-request-id").cloned(),
            span,
            log_context,
            peer,
            route,
            config_version: (shared.config_version)(),
            started: Instant::now(),
            status: None,
            error: None,
            _in_flight: shared.metrics.as_ref().map(HttpMetrics::in_flight),
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let status = match self.status {
            Some(status) => status.as_u16(),
            None if std::thread::panicking() => StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            None => CLIENT_CLOSED_REQUEST,
        };
        if let Some(metrics) = &self.shared.metrics {
            metrics.observe(
                self.method.as_str(),
                self.route,
                status,
                self.config_version,
                elapsed,
                self.span.sampled_trace_id(),
            );
        }
        self.end_span(status);
        /// One record of the access log; the level has to be a constant.
        macro_rules! access {
            ($level:expr, $message:literal) => {
                tracing::event!(
                    $level,
                    http.request.method = self.method.as_str(),
                    http.route = self.route,
                    http.response.status_code = status,
                    url.path = self.uri.path(),
                    duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                    request_id = text(self.request_id.as_ref()),
                    client.address = self.peer.map(tracing::field::display),
                    error = self.error.as_deref(),
                    $message
                )
            };
        }
        // A 503 of a probe says what the probe is for; the check itself is logged when it changes.
        let _line = self.log_context.enter();
        self.span.within(|| {
            if status >= 500 && (self.error.is_some() || self.status.is_none()) {
                access!(Level::WARN, "request failed");
            } else {
                access!(Level::DEBUG, "request");
            }
        });
    }
}

impl Record<'_> {
    fn end_span(&self, status: u16) {
        if self.span.is_recorded() {
            self.span.set("url.scheme", "http");
            self.span.set("url.path", self.uri.path().to_owned());
            if let Some(peer) = self.peer {
                self.span.set("client.address", peer.ip().to_string());
            }
            let version = i64::try_from(self.config_version).unwrap_or(i64::MAX);
            self.span.set("observastack.config_version", version);
            self.span.answered(status, status >= 500);
            if let Some(error) = &self.error {
                self.span.set("exception.message", error.clone());
            }
        }
        self.span.end();
    }
}

fn text(value: Option<&HeaderValue>) -> &str {
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// What a connection is doing, and since when.
struct Activity {
    began: Instant,
    in_flight: AtomicBool,
    /// The first byte of the next request's headers is there.
    in_headers: AtomicBool,
    since_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        // A new connection owes us its headers: it gets the shorter of the timeouts.
        let (in_flight, in_headers) = (AtomicBool::new(false), AtomicBool::new(true));
        Self {
            began: Instant::now(),
            in_flight,
            in_headers,
            since_ms: AtomicU64::new(0),
        }
    }

    // One task polls a connection with all that belongs to it, so the order of these needs no more than Relaxed.

    fn request_began(&self) {
        self.in_flight.store(true, Ordering::Relaxed);
    }

    fn request_ended(&self) {
        self.in_headers.store(false, Ordering::Relaxed);
        self.mark();
        self.in_flight.store(false, Ordering::Relaxed);
    }

    fn bytes_read(&self) {
        if !self.in_flight.load(Ordering::Relaxed) && !self.in_headers.swap(true, Ordering::Relaxed)
        {
            self.mark();
        }
    }

    fn bytes_written(&self) {
        if !self.in_flight.load(Ordering::Relaxed) && !self.in_headers.load(Ordering::Relaxed) {
            self.mark();
        }
    }

    fn mark(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since_ms.store(now_ms, Ordering::Relaxed);
    }

    fn is_overdue(&self, options: &Options) -> bool {
        let in_headers = self.in_headers.load(Ordering::Relaxed);
        let allowed = if in_headers {
            options.header_read_timeout
        } else {
            options.keep_alive_timeout
        };
        let since = Duration::from_millis(self.since_ms.load(Ordering::Relaxed));
        !self.in_flight.load(Ordering::Relaxed)
            && self.began.elapsed().saturating_sub(since) >= allowed
    }
}

/// A stream that notes when bytes come and go.
pub(super) struct Tracked<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I> Tracked<I> {
    pub(super) fn new(io: I) -> Self {
        Self {
            io,
            activity: Arc::new(Activity::new()),
        }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(result, Poll::Ready(Ok(length)) if length > 0) {
            self.activity.bytes_written();
        }
        result
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Tracked<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.bytes_read();
        }
        result
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Tracked<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, data);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, data);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
