//! The routes every service has: `/healthz`, `/livez` and `/metrics`.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use observastack_telemetry::metrics::{self, Registry};

use crate::health::{Health, Report};
use crate::http::{self, HttpError, Response, Router};

/// What the routes show. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ops {
    /// Behind `/healthz` (readiness) and `/livez` (liveness).
    pub health: Health,
    /// Behind `/metrics`.
    pub registry: Arc<Registry>,
}

/// GET `/healthz` and `/livez`: 200 or 503 with `{"status","reasons":[{"check","reason"}]}`; GET `/metrics`:
/// OpenMetrics text.
#[must_use]
pub fn routes(ops: Ops) -> Router<Ops> {
    Router::new(Arc::new(ops))
        .get("/healthz", async |ops: Arc<Ops>, _| {
            probe(&ops.health.is_ready())
        })
        .get("/livez", async |ops: Arc<Ops>, _| {
            probe(&ops.health.is_alive())
        })
        .get("/metrics", async |ops: Arc<Ops>, _| {
            Ok(scrape(&ops.registry))
        })
}

fn probe(report: &Report) -> Result<Response, HttpError> {
    let status = if report.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = http::json(status, report)?;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn scrape(registry: &Registry) -> Response {
    let mut response = Response::new(http::Body::from(metrics::encode(registry)));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static(metrics::CONTENT_TYPE),
    );
    response
}
