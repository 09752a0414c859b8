//! Phase 6: the request is over.

use observastack_telemetry::traces::TracedSpan;
use pingora::proxy::Session;

use crate::{
    access_log::Record,
    config::AccessLogMode,
    context::RequestContext,
    failure::{CLIENT_GONE, Failure},
    metrics::Outcome,
    proxy::Gateway,
};

/// Counts and logs the request.
pub fn run(
    gateway: &Gateway,
    session: &Session,
    error: Option<&pingora::Error>,
    ctx: &mut RequestContext,
) {
    // An error in an early phase, or one while the answer was written, has not been through phase 5.
    if ctx.failure.is_none()
        && let Some(error) = error
    {
        ctx.failure = Some(Failure::of_error(error, ctx.upstream_name()));
    }
    let status = ctx.attempt.as_ref().and_then(|attempt| attempt.status);
    let outcome = match (&ctx.failure, status) {
        (Some(failure), _) => failure.outcome(),
        (None, Some(status)) => Outcome::of_status(status),
        (None, None) => Outcome::internal,
    };
    if let Some(attempt) = ctx.end_attempt(outcome) {
        gateway
            .metrics
            .attempt_ended(&attempt.upstream.name, outcome);
    }
    let sent = session.response_written().map(|head| head.status.as_u16());
    let status = sent.unwrap_or(CLIENT_GONE);
    let elapsed = ctx.started.elapsed();
    let method = session.req_header().method.as_str();
    gateway.metrics.http.observe(
        method,
        ctx.identity.route,
        status,
        ctx.config.version,
        elapsed,
        ctx.identity
            .span
            .as_ref()
            .and_then(TracedSpan::sampled_trace_id),
    );
    end_span(session, ctx, status);

    let wanted = match ctx.config.config.access_log {
        AccessLogMode::All => true,
        AccessLogMode::Errors => status >= 400 || ctx.attempts > 1 || ctx.failure.is_some(),
        AccessLogMode::Off => false,
    };
    if wanted {
        gateway
            .access_log
            .write(Record::new(session, ctx, status, elapsed));
    }
}

fn end_span(session: &Session, ctx: &RequestContext, status: u16) {
    let Some(span) = &ctx.identity.span else {
        return;
    };
    if span.is_recorded() {
        span.set("url.scheme", "http");
        span.set("url.path", session.req_header().uri.path().to_owned());
        if let Some(client) = ctx.identity.client {
            span.set("client.address", client.to_string());
        }
        let version = i64::try_from(ctx.config.version).unwrap_or(i64::MAX);
        span.set("observastack.config_version", version);
        span.answered(status, status >= 500);
        if let Some(failure) = &ctx.failure {
            span.set("observastack.failure", failure.kind);
            span.set("exception.message", failure.message.clone());
        }
    }
    span.end();
}
