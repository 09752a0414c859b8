//! `GET /report/sales`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use observastack_kit::http::{Body, Request, Response, json};
use observastack_kit::service::{Money, ServiceError};
use observastack_telemetry::traces;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Shop;
use crate::report::{self, Deadline, ReportTimeout, SalesReport, template};
use crate::settings::{Algorithm, ReportSettings};

/// Limits how many reports are computed at a time.
#[derive(Debug)]
pub struct ReportSlots {
    slots: ArcSwap<(usize, Arc<Semaphore>)>,
}

impl ReportSlots {
    /// So many slots.
    pub fn new(concurrency: usize) -> Self {
        ReportSlots {
            slots: ArcSwap::from_pointee((concurrency, Arc::new(Semaphore::new(concurrency)))),
        }
    }

    /// A slot within the queue timeout, or `None`. When the number changes, reports under way keep their old slots, so
    /// until they are done there may be more than the new number.
    async fn take(&self, settings: &ReportSettings) -> Option<OwnedSemaphorePermit> {
        let mut slots = self.slots.load_full();
        if slots.0 != settings.concurrency {
            slots = Arc::new((
                settings.concurrency,
                Arc::new(Semaphore::new(settings.concurrency)),
            ));
            self.slots.store(Arc::clone(&slots));
        }
        let patience = Duration::from_millis(settings.queue_timeout_ms);
        tokio::time::timeout(patience, Arc::clone(&slots.1).acquire_owned())
            .await
            .ok()?
            .ok()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Html,
    Json,
}

/// 200 with the report as a page, or as JSON with `format=json`; `algorithm` overrides the configured one. 503 when too
/// many wait, 504 when it takes too long, 500 when the template is missing or wrong.
pub(super) async fn sales(shop: &Shop, request: &Request) -> Result<Response, ServiceError> {
    let config = shop.config.current();
    let settings = config.config.report.clone();
    let algorithm = match request.query("algorithm") {
        Some(name) => Algorithm::from_name(&name).ok_or_else(|| {
            ServiceError::invalid("algorithm", format!("{name:?}"), "good or bad")
        })?,
        None => settings.algorithm,
    };
    let format = match request.query("format").as_deref() {
        None | Some("html") => Format::Html,
        Some("json") => Format::Json,
        Some(other) => {
            return Err(ServiceError::invalid(
                "format",
                format!("{other:?}"),
                "html or json",
            ));
        }
    };
    let slot = {
        let _waiting = Waiting::new(shop);
        shop.report_slots.take(&settings).await
    };
    let slot = slot.ok_or_else(|| {
        ServiceError::unavailable("report_busy", "too many reports are being computed")
    })?;
    let sales = report::load(&shop.database, settings.max_orders).await?;
    let metrics = shop.metrics.clone();
    let span = traces::internal("compute_report");
    // It keeps a core busy, which is not for the threads that serve requests. The slot goes with it: a client that goes
    // away does not end the computation.
    let work = tokio::task::spawn_blocking(move || {
        let (_slot, _span) = (slot, span);
        let started = Instant::now();
        let report = report::compute(
            algorithm,
            &sales,
            settings.top as usize,
            Deadline::after_ms(settings.timeout_ms),
        )?;
        metrics.report_computed(algorithm, started.elapsed());
        match format {
            Format::Json => Ok(json(StatusCode::OK, &report)?),
            Format::Html => page(
                &report,
                algorithm,
                started.elapsed(),
                &settings.template_path,
            ),
        }
    });
    work.await
        .map_err(|error| internal("internal").because(error))?
}

/// Counts a request as waiting until dropped.
struct Waiting<'a>(&'a Shop);

impl<'a> Waiting<'a> {
    fn new(shop: &'a Shop) -> Self {
        shop.metrics.reports_waiting().inc();
        Waiting(shop)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.metrics.reports_waiting().dec();
    }
}

fn page(
    report: &SalesReport,
    algorithm: Algorithm,
    took: Duration,
    path: &Path,
) -> Result<Response, ServiceError> {
    let shown = path.display();
    let template = std::fs::read_to_string(path).map_err(|error| {
        internal("report_template")
            .because(format!("cannot read the report template {shown}: {error}"))
    })?;
    let page = template::render(&template, &values(report, algorithm, took)).map_err(|error| {
        internal("report_template")
            .because(format!("the report template {shown} is wrong: {error}"))
    })?;
    let mut response = Response::new(Body::from(page));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    Ok(response)
}

/// What a template may name.
fn values(report: &SalesReport, algorithm: Algorithm, took: Duration) -> Map<String, Value> {
    let value = &report.order_value;
    let pairs = report.pairs.iter().map(|pair| {
        serde_json::json!({"first": *pair.first, "second": *pair.second, "orders": pair.orders})
    });
    let categories = report.categories.iter().map(|category| {
        let revenue = money(category.revenue_cents);
        serde_json::json!({"category": *category.category, "pieces": category.pieces, "revenue": revenue})
    });
    let values: [(&str, Value); 11] = [
        ("orders", report.orders.into()),
        ("lines", report.lines.into()),
        ("revenue", money(report.revenue_cents).into()),
        ("algorithm", algorithm.as_str().into()),
        (
            "compute_ms",
            u64::try_from(took.as_millis()).unwrap_or(u64::MAX).into(),
        ),
        ("p50", money(value.p50_cents).into()),
        ("p90", money(value.p90_cents).into()),
        ("p99", money(value.p99_cents).into()),
        ("max", money(value.max_cents).into()),
        ("pairs", pairs.collect()),
        ("categories", categories.collect()),
    ];
    values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn money(cents: i64) -> String {
    Money(cents).to_string()
}

fn internal(code: &'static str) -> ServiceError {
    ServiceError::new(StatusCode::INTERNAL_SERVER_ERROR, code, "internal error")
}

impl From<ReportTimeout> for ServiceError {
    fn from(error: ReportTimeout) -> Self {
        ServiceError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "report_timeout",
            error.to_string(),
        )
        .because("report.timeout_ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Category, OrderValue, Pair};

    #[test]
    fn the_shipped_template_shows_the_whole_report() {
        let report = SalesReport {
            orders: 3,
            lines: 6,
            revenue_cents: 123_456,
            order_value: OrderValue {
                p50_cents: 1_111,
                p90_cents: 2_222,
                p99_cents: 3_333,
                max_cents: 4_404,
            },
            pairs: vec![Pair {
                first: "P00001".into(),
                second: "P00002".into(),
                orders: 77,
            }],
            categories: vec![Category {
                category: "<toys>".into(),
                pieces: 88,
                revenue_cents: 5,
            }],
        };
        let template = include_str!("../../templates/report.html");
        let page = template::render(
            template,
            &values(&report, Algorithm::Bad, Duration::from_millis(42)),
        )
        .unwrap();
        let shown = [
            "1234.56",
            "11.11",
            "22.22",
            "33.33",
            "44.04",
            "P00001",
            "P00002",
            ">77<",
            "&lt;toys&gt;",
            ">88<",
            ">0.05<",
            "bad algorithm in 42 ms",
        ];
        for text in shown {
            assert!(page.contains(text), "{text} is missing in {page}");
        }
    }

    #[tokio::test]
    async fn slots_are_limited_and_a_new_limit_holds_at_once() {
        let settings = |concurrency| ReportSettings {
            concurrency,
            queue_timeout_ms: 0,
            ..ReportSettings::default()
        };
        let slots = ReportSlots::new(1);
        let first = slots.take(&settings(1)).await;
        assert!(first.is_some());
        assert!(slots.take(&settings(1)).await.is_none());
        let more = (
            slots.take(&settings(2)).await,
            slots.take(&settings(2)).await,
        );
        assert!(more.0.is_some() && more.1.is_some());
        assert!(slots.take(&settings(2)).await.is_none());
        drop(more);
        assert!(slots.take(&settings(2)).await.is_some());
    }
}
