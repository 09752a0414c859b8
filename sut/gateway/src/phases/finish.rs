//! Phase 6: the request is over.

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
    if let Some(attempt) = &mut ctx.attempt
        && attempt.outcome.is_none()
    {
        let outcome = match (&ctx.failure, attempt.status) {
            (Some(failure), _) => failure.outcome(),
            (None, Some(status)) => Outcome::of_status(status),
            (None, None) => Outcome::internal,
        };
        attempt.outcome = Some(outcome);
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
    );

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
