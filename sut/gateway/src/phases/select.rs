//! Phase 2: which upstream, and how much time it gets.

use std::time::Duration;

use observastack_telemetry::traces::{self, TracedSpan};
use pingora::{
    Error,
    proxy::Session,
    upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy},
};

use crate::{
    clock,
    config::{HashOn, TimeoutConfig},
    context::{Attempt, RequestContext},
    failure::{NO_HEALTHY_UPSTREAM, OUT_OF_TIME},
    proxy::Gateway,
    upstreams::Upstream,
};

/// Begins an attempt: the first one or a retry.
pub fn run(
    gateway: &Gateway,
    session: &Session,
    ctx: &mut RequestContext,
) -> pingora::Result<Box<HttpPeer>> {
    let config = &ctx.config.config;
    if ctx.attempts == 0 {
        gateway
            .retry_budget
            .deposit(&config.retries.budget, clock::now_ms());
    }
    let remaining = ctx.remaining();
    if remaining.is_zero() {
        return Err(Error::new_up(OUT_OF_TIME));
    }
    let client;
    let hash_key = match config.balancing.hash_on {
        HashOn::Path => session.req_header().uri.path().as_bytes(),
        HashOn::ClientIp => {
            client = ctx
                .identity
                .client
                .map(|client| client.to_string())
                .unwrap_or_default();
            client.as_bytes()
        }
    };
    let Some(upstream) = gateway
        .upstreams
        .pool()
        .pick(hash_key, &ctx.tried, clock::now_ms())
    else {
        return Err(Error::new_up(NO_HEALTHY_UPSTREAM));
    };
    let mut peer = HttpPeer::new(upstream.address, false, String::new());
    limit_time(&mut peer, &config.timeouts, remaining);
    peer.options.idle_timeout = Some(Duration::from_millis(config.keepalive.upstream_idle_ms));
    // The shop has no WebSockets: an upgrade would be a tunnel past every limit here.
    peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    let span = span(session, ctx, &upstream);
    ctx.attempts += 1;
    ctx.tried.push(upstream.address);
    ctx.attempt = Some(Attempt::new(upstream, span));
    Ok(Box::new(peer))
}

/// The call to the upstream, below the request's own span.
fn span(session: &Session, ctx: &RequestContext, upstream: &Upstream) -> TracedSpan {
    let identity = &ctx.identity;
    let request = identity.span.clone().unwrap_or_else(traces::current);
    let method = session.req_header().method.as_str();
    let span = traces::client_below(&request, method, identity.route);
    if span.is_recorded() {
        span.set("server.address", upstream.address.ip().to_string());
        span.set("server.port", i64::from(upstream.address.port()));
        if ctx.attempts > 0 {
            let resent = i64::try_from(ctx.attempts).unwrap_or(i64::MAX);
            span.set("http.request.resend_count", resent);
        }
    }
    span
}

/// No step may take longer than what is left of the whole request's time.
fn limit_time(peer: &mut HttpPeer, timeouts: &TimeoutConfig, remaining: Duration) {
    let limit = |ms| Some(Duration::from_millis(ms).min(remaining));
    peer.options.connection_timeout = limit(timeouts.connect_ms);
    peer.options.total_connection_timeout = limit(timeouts.connect_ms);
    peer.options.read_timeout = limit(timeouts.read_ms);
    peer.options.write_timeout = limit(timeouts.write_ms);
}
