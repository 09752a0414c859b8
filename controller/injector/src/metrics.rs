//! What faults do, for Prometheus: `GET /metrics` on a loopback port.

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use observastack_telemetry::metrics;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::{debug, warn};

use crate::engine::{Engine, Series};

/// Scrapes at once; more wait in the listener's queue.
const CONNECTIONS: usize = 8;
/// How long a connection may take for a request's headers, and stay idle.
const HEADERS: Duration = Duration::from_secs(5);

/// The port was taken or refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for /metrics: {source}")]
pub(crate) struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Opens the port.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })
}

/// Answers scrapes until it is dropped.
pub(crate) async fn serve(listener: TcpListener, engine: Engine, mut registry: metrics::Registry) {
    let shown = Faults::default();
    registry.register_collector(Box::new(shown.clone()));
    let state = Arc::new((registry, shown, engine));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "cannot accept a scrape");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, &request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "scrape ended");
            }
            drop(slot);
        });
    }
}

async fn answer<B>(
    (registry, shown, engine): &(metrics::Registry, Faults, Engine),
    request: &Request<B>,
) -> Response<Full<Bytes>> {
    let text = |status, text: String| {
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        *answer.status_mut() = status;
        answer
    };
    if request.uri().path() != "/metrics" {
        return text(StatusCode::NOT_FOUND, "there is only /metrics\n".to_owned());
    }
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned());
    }
    match engine.series().await {
        Ok(series) => {
            shown.show(series);
            let mut answer = text(StatusCode::OK, metrics::encode(registry));
            answer.headers_mut().insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static(metrics::CONTENT_TYPE),
            );
            answer
        }
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

/// What the engine said last.
#[derive(Clone, Debug, Default)]
struct Faults(Arc<Mutex<Vec<Series>>>);

impl Faults {
    fn show(&self, series: Vec<Series>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = series;
    }
}

/// A family's name and help, and its value of one series.
type Family = (&'static str, &'static str, fn(&Series) -> u64);

impl Collector for Faults {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        const COUNTERS: [Family; 3] = [
            (
                "observastack_fault_matched",
                "Events that a fault covered",
                |series| series.counts.matched,
            ),
            (
                "observastack_fault_injected",
                "Events that were faulted",
                |series| series.counts.injected,
            ),
            (
                "observastack_fault_skipped",
                "Events that a fault would have covered while the lease had lapsed",
                |series| series.counts.skipped,
            ),
        ];
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, help, value) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for series in all.iter() {
                ConstCounter::new(value(series)).encode(labelled(&mut family, series)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "observastack_fault_active",
            "Faults that hold now",
            None,
            MetricType::Gauge,
        )?;
        for series in all.iter() {
            let active = i64::try_from(series.active).unwrap_or(i64::MAX);
            ConstGauge::new(active).encode(labelled(&mut family, series)?)?;
        }
        Ok(())
    }
}

fn labelled<'a>(
    family: &'a mut MetricEncoder<'_>,
    series: &'a Series,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    family.encode_family(&series.labels)
}
