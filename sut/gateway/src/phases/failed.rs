//! Phase 5: an attempt broke. Another one, or an error for the client.

use pingora::{
    Error, ErrorSource, ErrorType,
    proxy::{FailToProxy, Session},
};

use crate::{
    clock,
    config::RetryOn,
    context::RequestContext,
    failure::{CLIENT_GONE, Failure, OUT_OF_TIME, SLOW_CLIENT},
    metrics::Outcome,
    proxy::Gateway,
    respond, retry,
};

/// No connection to the upstream: nothing was sent.
pub fn no_connection(
    gateway: &Gateway,
    session: &Session,
    ctx: &mut RequestContext,
    mut error: Box<Error>,
) -> Box<Error> {
    end_attempt(gateway, ctx, Outcome::connect_failure);
    let avoid_ms = ctx
        .config
        .config
        .health_check
        .avoid_after_connect_failure_ms;
    if let Some(attempt) = &ctx.attempt
        && avoid_ms > 0
    {
        attempt.upstream.avoid_until(clock::now_ms() + avoid_ms);
    }
    let again = retry::decide(
        RetryOn::ConnectFailure,
        session,
        ctx,
        &gateway.retry_budget,
        &gateway.metrics,
    );
    error.set_retry(again);
    error
}

/// The exchange with the upstream broke after the connection was there.
pub fn broken_exchange(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut RequestContext,
    mut error: Box<Error>,
) -> Box<Error> {
    if let ErrorType::HTTPStatus(status) = *error.etype()
        && error.retry()
    {
        // Decided where the status was seen.
        end_attempt(gateway, ctx, Outcome::of_status(status));
        return error;
    }
    let timed_out = matches!(
        error.etype(),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout
    );
    if timed_out && *error.esource() == ErrorSource::Upstream {
        // Pingora waits for the answer while the body is still coming in: the one who is slow may be the client.
        if !session.as_mut().is_body_done() {
            error = Error::because(SLOW_CLIENT, "the request's body stalled", error).into_down();
        } else if ctx.remaining().is_zero() {
            error = Error::because(OUT_OF_TIME, "timeouts.total_ms is over", error).into_up();
        }
    }
    end_attempt(gateway, ctx, Failure::of_error(&error, "").outcome());
    let again = *error.esource() == ErrorSource::Upstream
        && retry::decide(
            retry::cause_of(error.etype()),
            session,
            ctx,
            &gateway.retry_budget,
            &gateway.metrics,
        );
    error.set_retry(again);
    error
}

/// The request has failed for good: tells the client, if it is still there and has no answer yet.
pub async fn for_good(
    session: &mut Session,
    ctx: &mut RequestContext,
    error: &Error,
) -> FailToProxy {
    let failure = Failure::of_error(error, ctx.upstream_name());
    let unanswered = session
        .response_written()
        .is_none_or(|head| head.status.is_informational());
    // The connection may have half a request in it.
    session.set_keepalive(None);
    if failure.status != CLIENT_GONE
        && unanswered
        && let Err(error) = respond::failure(session, &ctx.identity, &failure).await
    {
        tracing::debug!(%error, "the client did not take the error");
    }
    let error_code = failure.status;
    ctx.failure = Some(failure);
    FailToProxy {
        error_code,
        can_reuse_downstream: false,
    }
}

fn end_attempt(gateway: &Gateway, ctx: &mut RequestContext, outcome: Outcome) {
    if let Some(attempt) = ctx.end_attempt(outcome) {
        gateway
            .metrics
            .attempt_ended(&attempt.upstream.name, outcome);
    }
}
