//! Spans: a request that this process answers, a call that it makes for one, a statement that it has a database run.
//!
//! Names and attributes follow OpenTelemetry's semantic conventions for
//! [HTTP](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) and
//! [databases](https://opentelemetry.io/docs/specs/semconv/database/database-spans/). A span is the current one of the task that polls a
//! future which was given to [`TracedSpan::around`]; what is made meanwhile belongs below it. Spans of a trace that is not sampled
//! carry their ids on, and cost little.

mod headers;

use std::{borrow::Cow, future::Future, sync::OnceLock};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        FutureExt, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use crate::otlp;

pub use headers::{TRACEPARENT, TRACESTATE};

/// The scope that all spans are made in.
const SCOPE: &str = "observastack";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Makes spans with this provider from now on; an error the second time.
pub(crate) fn install(provider: &SdkTracerProvider) -> Result<(), ()> {
    TRACER.set(provider.tracer(SCOPE)).map_err(|_| ())
}

/// The spans of a process that was never asked to send any: their ids go on, and nothing is recorded.
fn tracer() -> &'static SdkTracer {
    TRACER.get_or_init(|| unsent().tracer(SCOPE))
}

/// Makes spans that nobody ever sees.
pub(crate) fn unsent() -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_sampler(otlp::Unsent)
        .build()
}

/// A span that has begun. It ends when the last clone of it is dropped.
#[derive(Debug, Clone)]
pub struct TracedSpan(Context);

/// What probes and scrapers ask for, many times a minute: no trace begins there.
const PROBES: [&str; 3] = ["/healthz", "/livez", "/metrics"];

/// A request that this process answers, below the caller's span if its headers name one. A probe's belongs to no trace of its own.
///
/// `route` is the template, such as `/orders/{id}`.
#[must_use]
pub fn server(headers: &HeaderMap, method: &str, route: &'static str) -> TracedSpan {
    let parent = match headers::extract(headers) {
        Some(above) => Context::new().with_remote_span_context(above),
        None if PROBES.contains(&route) => return TracedSpan(Context::new()),
        None => Context::new(),
    };
    let span = begin(route, SpanKind::Server, &parent);
    if span.is_recorded() {
        let span_ref = span.0.span();
        span_ref.update_name(format!("{method} {route}"));
        span_ref.set_attribute(KeyValue::new("http.request.method", method.to_owned()));
        span_ref.set_attribute(KeyValue::new("http.route", route));
    }
    span
}

/// A call that this process makes, below the current span.
///
/// `template` is the path with its variables' names, such as `/stock/{sku}`.
#[must_use]
pub fn client(method: &str, template: &'static str) -> TracedSpan {
    client_below(&TracedSpan(Context::current()), method, template)
}

/// A call that this process makes for a request, where the current span is not that request's.
#[must_use]
pub fn client_below(request: &TracedSpan, method: &str, template: &'static str) -> TracedSpan {
    let span = begin(template, SpanKind::Client, &request.0);
    if span.is_recorded() {
        let span_ref = span.0.span();
        span_ref.update_name(format!("{method} {template}"));
        span_ref.set_attribute(KeyValue::new("http.request.method", method.to_owned()));
        span_ref.set_attribute(KeyValue::new("url.template", template));
    }
    span
}

/// A statement that a PostgreSQL database runs, below the current span. Only its name is told, never its values.
#[must_use]
pub fn statement(name: &'static str) -> TracedSpan {
    let span = begin(name, SpanKind::Client, &Context::current());
    if span.is_recorded() {
        let span_ref = span.0.span();
        span_ref.set_attribute(KeyValue::new("db.system.name", "postgresql"));
        span_ref.set_attribute(KeyValue::new("db.query.summary", name));
    }
    span
}

/// Work of this process, below the current span.
#[must_use]
pub fn internal(name: &'static str) -> TracedSpan {
    begin(name, SpanKind::Internal, &Context::current())
}

/// Work that nobody has asked for and that is done many times a minute, such as looking into a queue: nothing of it is recorded.
#[must_use]
pub fn unrecorded() -> TracedSpan {
    let nobody = SpanContext::new(
        TraceId::from_bytes([1; 16]),
        SpanId::from_bytes([1; 8]),
        TraceFlags::NOT_SAMPLED,
        false,
        TraceState::NONE,
    );
    TracedSpan(Context::new().with_remote_span_context(nobody))
}

/// The current span; of no trace where there is none.
#[must_use]
pub fn current() -> TracedSpan {
    TracedSpan(Context::current())
}

/// Whether the current span is of a trace that is not recorded.
pub(crate) fn is_left_out() -> bool {
    Context::map_current(|current| {
        let span = current.span();
        let context = span.span_context();
        context.is_valid() && !context.is_sampled()
    })
}

fn begin(name: &'static str, kind: SpanKind, parent: &Context) -> TracedSpan {
    let tracer = tracer();
    let builder = tracer.span_builder(Cow::Borrowed(name)).with_kind(kind);
    TracedSpan(parent.with_span(tracer.build_with_context(builder, parent)))
}

impl TracedSpan {
    /// The trace's id as 32 hexadecimal digits, or nothing without a trace.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.named(|context| context.trace_id().to_string())
    }

    /// The span's id as 16 hexadecimal digits, or nothing without a trace.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.named(|context| context.span_id().to_string())
    }

    /// What names it; nothing without a trace.
    fn named(&self, name: impl FnOnce(&SpanContext) -> String) -> String {
        let span = self.0.span();
        let context = span.span_context();
        if context.is_valid() {
            name(context)
        } else {
            String::new()
        }
    }

    /// Whether attributes of it will ever be seen.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.span().is_recording()
    }

    /// The trace's id where the trace can be found by it later: for an exemplar.
    #[must_use]
    pub fn sampled_trace_id(&self) -> Option<String> {
        self.is_recorded().then(|| self.trace_id())
    }

    /// Sets an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// Sets the status of the answer. For a request that was answered here only 5xx is an error, for a call 4xx is one too, says the
    /// convention; the caller knows which.
    pub fn answered(&self, status: u16, is_error: bool) {
        if !self.is_recorded() {
            return;
        }
        self.set("http.response.status_code", i64::from(status));
        if is_error {
            self.set("error.type", status.to_string());
            self.0.span().set_status(Status::error(""));
        }
    }

    /// Says that it failed: `error_type` is one of few (`timeout`), `description` is for people.
    pub fn failed(&self, error_type: &'static str, description: impl FnOnce() -> String) {
        if !self.is_recorded() {
            return;
        }
        self.set("error.type", error_type);
        self.0.span().set_status(Status::error(description()));
    }

    /// Ends it now, whoever else holds it.
    pub fn end(&self) {
        self.0.span().end();
    }

    /// Makes it the current span whenever `work` is polled.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.with_context(self.0.clone())
    }

    /// Makes it the current span while `work` runs.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _current = self.0.clone().attach();
        work()
    }

    /// Tells the next process, by its request's headers.
    pub fn inject(&self, headers: &mut HeaderMap) {
        headers::inject(self.0.span().span_context(), headers);
    }

    /// The value of a `traceparent` header that names this span; nothing without a trace.
    #[must_use]
    pub fn traceparent(&self) -> String {
        self.named(headers::traceparent)
    }

    /// The value of a `tracestate` header, where the trace has one.
    #[must_use]
    pub fn tracestate(&self) -> Option<String> {
        let state = self.0.span().span_context().trace_state().header();
        (!state.is_empty()).then_some(state)
    }
}
