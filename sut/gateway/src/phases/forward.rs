//! Phase 3: the request on its way to the upstream.

use http::header;
use observastack_telemetry::traces::{TRACEPARENT, TRACESTATE};
use pingora::{Error, http::RequestHeader};

use crate::{context::RequestContext, failure::BODY_TOO_LARGE, request_id};

/// Completes the head: identity, and who the client is. What the client says about itself is not trusted here, at the edge.
pub fn head(head: &mut RequestHeader, ctx: &RequestContext) -> pingora::Result<()> {
    let identity = &ctx.identity;
    head.insert_header(request_id::HEADER, identity.request_id.as_str())?;
    if let Some(attempt) = &ctx.attempt {
        head.insert_header(TRACEPARENT, attempt.span.traceparent())?;
        match attempt.span.tracestate() {
            Some(state) => head.insert_header(TRACESTATE, state)?,
            None => drop(head.remove_header(TRACESTATE)),
        }
    }
    head.remove_header("forwarded");
    head.insert_header("x-forwarded-proto", "http")?;
    match identity.client {
        Some(client) => head.insert_header("x-forwarded-for", client.to_string())?,
        None => drop(head.remove_header("x-forwarded-for")),
    }
    if ctx.config.config.keepalive.upstream_idle_ms == 0 {
        head.insert_header(header::CONNECTION, "close")?;
    }
    Ok(())
}

/// Counts the body: a chunked one does not announce its length.
pub fn body(bytes: usize, ctx: &mut RequestContext) -> pingora::Result<()> {
    ctx.body_bytes += bytes as u64;
    if ctx.body_bytes > ctx.config.config.limits.max_body_bytes {
        return Err(Error::new_down(BODY_TOO_LARGE));
    }
    Ok(())
}
