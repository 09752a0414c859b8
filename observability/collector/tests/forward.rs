//! Forwarding, to a backend that is there, slow, or away.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use common::{Collector, log, logs_of, many};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

#[derive(Clone, Default)]
struct Backend {
    asked: Arc<AtomicUsize>,
    spans: Arc<AtomicUsize>,
    refuse: Arc<AtomicUsize>,
}

async fn traces(State(backend): State<Backend>, body: Bytes) -> StatusCode {
    backend.asked.fetch_add(1, Ordering::SeqCst);
    if backend.refuse.load(Ordering::SeqCst) > 0 {
        backend.refuse.fetch_sub(1, Ordering::SeqCst);
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let spans = request.resource_spans[0].scope_spans[0].spans.len();
    backend.spans.fetch_add(spans, Ordering::SeqCst);
    StatusCode::OK
}

async fn backend() -> (String, Backend, watch::Sender<bool>) {
    let backend = Backend::default();
    let router = Router::new()
        .route("/v1/traces", post(traces))
        .route("/otlp/v1/logs", post(async || StatusCode::BAD_REQUEST))
        .with_state(backend.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (stop, shutdown) = watch::channel(false);
    tokio::spawn(observastack_collector::server::serve(
        listener, router, shutdown,
    ));
    (address, backend, stop)
}

#[tokio::test]
async fn what_is_accepted_is_forwarded_also_after_a_backend_was_busy() {
    let (address, backend, _stop) = backend().await;
    backend.refuse.store(2, Ordering::SeqCst);
    let store = tempfile::tempdir().unwrap();
    let target = format!("{address}/v1/traces");
    let collector = Collector::start(store.path(), &["--forward-traces", &target]);
    assert_eq!(collector.traces(&many("api", 1, 7)).await.status, 200);
    let json = serde_json::to_vec(&many("api", 10, 3)).unwrap();
    let kind = [("content-type", "application/json")];
    assert_eq!(collector.post("/v1/traces", &kind, json).await.status, 200);
    collector
        .until_counted("forwarded_items_total", "traces", 10)
        .await;
    assert_eq!(backend.spans.load(Ordering::SeqCst), 10);
    assert_eq!(backend.asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn what_a_backend_refuses_is_counted_and_not_sent_again() {
    let (address, _, _stop) = backend().await;
    let store = tempfile::tempdir().unwrap();
    let target = format!("{address}/otlp/v1/logs");
    let collector = Collector::start(store.path(), &["--forward-logs", &target]);
    assert_eq!(
        collector
            .logs(&logs_of("api", vec![log(9, "hello")]))
            .await
            .status,
        200
    );
    collector
        .until_counted("forward_dropped_items_total", "refused", 1)
        .await;
}

#[tokio::test]
async fn a_backend_that_is_away_costs_what_its_queue_cannot_hold_and_never_the_store() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    drop(listener);
    let store = tempfile::tempdir().unwrap();
    let more = [
        "--forward-traces",
        target.as_str(),
        "--queue-items",
        "1000000",
    ];
    let collector = Collector::start(store.path(), &more);
    let mut sent = 0;
    for _ in 0..1_100 {
        assert_eq!(
            collector.traces(&many("api", sent + 1, 10)).await.status,
            200
        );
        sent += 10;
    }
    collector
        .until_counted("stored_items_total", "traces", sent)
        .await;
    let dropped = collector
        .counted("forward_dropped_items_total", "queue_full")
        .await;
    assert!(dropped >= 740 && dropped < sent, "{dropped}");
    assert!(collector.terminate().await.success());
}
