//! Phase 1: who is it, and may it come in?

use http::{Method, header};
use pingora::proxy::Session;
use serde::Serialize;

use crate::{
    clock,
    context::{Admission, RequestContext},
    failure::{Failure, Source},
    metrics::LimitScope,
    proxy::Gateway,
    respond,
};

const HEALTH_PATH: &str = "/healthz";
/// What the API servers show to operators on the same port as the shop, and no client of the shop is to see.
const PRIVATE_PATHS: [&str; 2] = ["/metrics", "/livez"];
const NS_PER_SECOND: u64 = 1_000_000_000;

/// Body of the health page.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    healthy_upstreams: usize,
    upstreams: usize,
}

/// True if the request was answered here.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> pingora::Result<bool> {
    if is_health_page(session) {
        return health_page(gateway, session, ctx).await.map(|()| true);
    }
    let Err(failure) = check(gateway, session, ctx) else {
        return Ok(false);
    };
    respond::failure(session, &ctx.identity, &failure).await?;
    ctx.failure = Some(failure);
    Ok(true)
}

fn is_health_page(session: &Session) -> bool {
    let head = session.req_header();
    head.uri.path() == HEALTH_PATH && matches!(head.method, Method::GET | Method::HEAD)
}

/// 200 while at least one upstream is healthy.
async fn health_page(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &RequestContext,
) -> pingora::Result<()> {
    let (healthy_upstreams, upstreams) = gateway.upstreams.pool().healthy_of();
    let (status, word) = if healthy_upstreams > 0 {
        (200, "ok")
    } else {
        (503, "unavailable")
    };
    let body = Health {
        status: word,
        healthy_upstreams,
        upstreams,
    };
    respond::json(session, &ctx.identity, status, None, &body).await
}

fn check(gateway: &Gateway, session: &Session, ctx: &mut RequestContext) -> Result<(), Failure> {
    if PRIVATE_PATHS.contains(&session.req_header().uri.path()) {
        let message = "there is nothing here for the shop's clients";
        return Err(Failure::new(404, Source::Gateway, "not_found", message));
    }
    let config = &ctx.config.config;
    let now_ns = clock::now_ns();
    if config.rate_limit.per_client.enabled
        && let Some(client) = ctx.identity.client
        && let Err(wait_ns) =
            gateway
                .client_buckets
                .try_take(&config.rate_limit.per_client, client, now_ns)
    {
        gateway.metrics.rate_limited(LimitScope::client);
        return Err(too_many(
            "too many requests from this address (rate_limit.per_client)",
            wait_ns,
        ));
    }
    if config.rate_limit.global.enabled
        && let Err(wait_ns) = gateway
            .global_bucket
            .try_take(&config.rate_limit.global, now_ns)
    {
        gateway.metrics.rate_limited(LimitScope::global);
        return Err(too_many("too many requests (rate_limit.global)", wait_ns));
    }
    let max = config.limits.max_in_flight;
    ctx.admission = Admission::try_new(&gateway.in_flight, max, gateway.metrics.http.in_flight());
    if ctx.admission.is_none() {
        gateway.metrics.overloaded();
        let message = "too many requests in flight (limits.max_in_flight)";
        return Err(Failure::new(503, Source::Gateway, "overloaded", message).retry_after_s(1));
    }
    let announced = session
        .get_header(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > config.limits.max_body_bytes) {
        let message = format!(
            "the request's body is larger than {} bytes (limits.max_body_bytes)",
            config.limits.max_body_bytes
        );
        return Err(Failure::new(
            413,
            Source::Downstream,
            "body_too_large",
            message,
        ));
    }
    Ok(())
}

fn too_many(message: &str, wait_ns: u64) -> Failure {
    Failure::new(429, Source::Gateway, "rate_limited", message)
        .retry_after_s(wait_ns.div_ceil(NS_PER_SECOND).max(1))
}
