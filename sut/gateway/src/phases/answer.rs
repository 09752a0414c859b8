//! Phase 4: the upstream's answer on its way to the client.

use pingora::{Error, ErrorType, http::ResponseHeader, proxy::Session};

use crate::{
    config::RetryOn, context::RequestContext, failure::OUT_OF_TIME, proxy::Gateway, respond, retry,
};

/// Notes the head of an attempt's answer; an error asks for another attempt because of its status.
pub fn from_upstream(
    gateway: &Gateway,
    session: &Session,
    head: &ResponseHeader,
    ctx: &mut RequestContext,
) -> pingora::Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    let status = head.status.as_u16();
    if let Some(attempt) = &mut ctx.attempt {
        attempt.status = Some(status);
        gateway.metrics.answered_after(
            attempt.upstream.address,
            attempt.started.elapsed().as_secs_f64(),
        );
    }
    let asked = ctx.config.config.retries.statuses.contains(&status);
    if asked
        && retry::decide(
            RetryOn::Status,
            session,
            ctx,
            &gateway.retry_budget,
            &gateway.metrics,
        )
    {
        let mut error = Error::new_up(ErrorType::HTTPStatus(status));
        error.set_retry(true);
        return Err(error);
    }
    Ok(())
}

/// Completes the head that the client gets.
pub fn to_client(
    gateway: &Gateway,
    session: &mut Session,
    head: &mut ResponseHeader,
    ctx: &RequestContext,
) -> pingora::Result<()> {
    if head.status.is_informational() {
        return Ok(());
    }
    if *gateway.stop.borrow() {
        // Says "connection: close", so that the client does not send its next request into a closing connection.
        session.set_keepalive(None);
    }
    respond::identify(head, &ctx.identity)
}

/// Stops an answer that is still coming when the request's time is over.
pub fn body(end_of_stream: bool, ctx: &RequestContext) -> pingora::Result<()> {
    if !end_of_stream && ctx.remaining().is_zero() {
        return Err(Error::new_up(OUT_OF_TIME));
    }
    Ok(())
}
