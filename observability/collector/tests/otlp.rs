//! What senders are told, over real sockets.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Collector, attribute, gzip, log, logs_of, many, span, traces_of};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data,
};
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::codec::CompressionEncoding::Gzip;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

fn one_point() -> ExportMetricsServiceRequest {
    let gauge = Gauge {
        data_points: vec![NumberDataPoint::default()],
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: vec![Metric {
                    name: "orders".to_owned(),
                    data: Some(Data::Gauge(gauge)),
                    ..Metric::default()
                }],
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

#[tokio::test]
async fn http_takes_protobuf_and_json_packed_or_not() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let protobuf = many("api", 1, 3).encode_to_vec();
    let json = serde_json::to_vec(&many("api", 10, 3)).unwrap();
    for (kind, body) in [(PROTOBUF, protobuf), (JSON, json)] {
        let plain = collector.post("/v1/traces", &[kind], body.clone()).await;
        assert_eq!(plain.status, 200, "{:?}", plain.body);
        assert_eq!(plain.headers["content-type"], kind.1);
        let headers = [kind, ("content-encoding", "gzip")];
        let packed = collector.post("/v1/traces", &headers, gzip(&body)).await;
        assert_eq!(packed.status, 200, "{:?}", packed.body);
    }
    assert_eq!(
        collector
            .logs(&logs_of("api", vec![log(9, "hello")]))
            .await
            .status,
        200
    );
    let points = collector
        .post("/v1/metrics", &[PROTOBUF], one_point().encode_to_vec())
        .await;
    assert_eq!(points.status, 200);
    collector
        .until_counted("stored_items_total", "traces", 12)
        .await;
    collector
        .until_counted("stored_items_total", "logs", 1)
        .await;
    assert_eq!(
        collector.counted("dropped_items_total", "not_stored").await,
        1
    );
}

/// As the specification's examples and SDKs write it: lower camel case, numbers as text, enumerations as numbers.
#[tokio::test]
async fn json_is_read_as_the_specification_writes_it() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"scope": {"name": "my.library"}, "spans": [{
            "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "parentSpanId": "EEE19B7EC3C1B173",
            "name": "I'm a server span", "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
            "kind": 2, "attributes": [{"key": "my.span.attr", "value": {"intValue": "4"}}]
        }]}]
    }]});
    let answer = collector
        .post("/v1/traces", &[JSON], body.to_string().into_bytes())
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    collector
        .until_counted("stored_items_total", "traces", 1)
        .await;
    let shown = collector
        .query("/api/traces/5b8efff798038103d269b633813fc60c")
        .await
        .json();
    let span = &shown["spans"][0];
    assert_eq!(span["operation"], "I'm a server span");
    assert_eq!(span["service"], "shop");
    assert_eq!(span["duration_ns"], 1_000_000_000);
    assert_eq!(span["attributes"], json!({"my.span.attr": 4}));
    assert_eq!(span["parent_span_id"], "eee19b7ec3c1b173");
}

#[tokio::test]
async fn grpc_takes_all_signals_packed_or_not() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let address = format!("http://{}", collector.address("otlp_grpc"));
    let mut traces = TraceServiceClient::connect(address.clone()).await.unwrap();
    traces.export(many("api", 1, 5)).await.unwrap();
    let mut packed = TraceServiceClient::connect(address.clone())
        .await
        .unwrap()
        .send_compressed(Gzip);
    packed.export(many("api", 10, 5)).await.unwrap();
    let mut logs = LogsServiceClient::connect(address.clone()).await.unwrap();
    logs.export(logs_of("api", vec![log(9, "hello")]))
        .await
        .unwrap();
    let mut metrics = MetricsServiceClient::connect(address).await.unwrap();
    metrics.export(one_point()).await.unwrap();
    collector
        .until_counted("stored_items_total", "traces", 10)
        .await;
    collector
        .until_counted("stored_items_total", "logs", 1)
        .await;
}

#[tokio::test]
async fn spans_without_valid_ids_are_a_partial_success() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let mut short = span(1, 1, 0, "short");
    short.trace_id = vec![1, 2, 3];
    let zero = span(0, 2, 0, "zero");
    let request = traces_of("api", vec![span(7, 7, 0, "good"), short, zero]);
    let answer = collector.traces(&request).await;
    assert_eq!(answer.status, 200);
    let partial = ExportTraceServiceResponse::decode(answer.body)
        .unwrap()
        .partial_success
        .unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert!(
        partial.error_message.contains("\"short\"") && partial.error_message.contains("16 bytes")
    );
    let address = format!("http://{}", collector.address("otlp_grpc"));
    let mut client = TraceServiceClient::connect(address).await.unwrap();
    let over_grpc = client.export(request).await.unwrap().into_inner();
    assert_eq!(over_grpc.partial_success.unwrap().rejected_spans, 2);
    collector
        .until_counted("stored_items_total", "traces", 2)
        .await;
    assert_eq!(collector.counted("rejected_items_total", "traces").await, 4);
}

#[tokio::test]
async fn what_cannot_be_read_gets_an_error_and_the_collector_goes_on() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(
        store.path(),
        &["--request-mib", "1", "--request-time", "1s"],
    );
    let gzipped = ("content-encoding", "gzip");
    let valid = many("api", 1, 10).encode_to_vec();
    let cut = valid[..valid.len() - 3].to_vec();
    let large = vec![0_u8; (1 << 20) + 1];
    for (headers, body, status) in [
        (vec![PROTOBUF], b"\xff\xff\xff\xff".to_vec(), 400),
        (vec![PROTOBUF], cut, 400),
        (vec![JSON], b"{\"resourceSpans\": 7}".to_vec(), 400),
        (vec![PROTOBUF, gzipped], b"not gzip".to_vec(), 400),
        (vec![PROTOBUF, gzipped], gzip(&valid)[..40].to_vec(), 400),
        (vec![PROTOBUF], large.clone(), 413),
        // A thousand times smaller on the wire than it is.
        (vec![PROTOBUF, gzipped], gzip(&vec![0_u8; 200 << 20]), 413),
        (
            vec![PROTOBUF, ("content-encoding", "br")],
            valid.clone(),
            415,
        ),
        (vec![("content-type", "text/plain")], valid.clone(), 415),
    ] {
        let answer = collector.post("/v1/traces", &headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}: {:?}", answer.body);
        if headers[0] == JSON {
            assert_eq!(answer.json()["code"], 3);
            assert!(
                answer.json()["message"]
                    .as_str()
                    .unwrap()
                    .contains("not valid OTLP JSON")
            );
        }
    }
    let address = format!("http://{}", collector.address("otlp_grpc"));
    let mut client = TraceServiceClient::connect(address).await.unwrap();
    let mut span = span(1, 1, 0, "large");
    span.attributes = vec![attribute("text", &"x".repeat(2 << 20))];
    let error = client
        .export(traces_of("api", vec![span]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), tonic::Code::OutOfRange, "{error}");
    assert_eq!(collector.traces(&many("api", 1, 10)).await.status, 200);
    collector
        .until_counted("stored_items_total", "traces", 10)
        .await;
    assert_eq!(collector.counted("bad_requests_total", "").await, 9);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &["--request-time", "1s"]);
    let mut stream = tokio::net::TcpStream::connect(collector.address("otlp_http"))
        .await
        .unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\nab";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408"),
        "{answer:?}"
    );
    assert_eq!(collector.counted("bad_requests_total", "too_slow").await, 1);
}

#[tokio::test]
async fn above_the_queue_the_sender_is_told_when_to_come_again_and_the_loss_is_counted_to_the_span()
{
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &["--queue-items", "100"]);
    let address = format!("http://{}", collector.address("otlp_grpc"));
    let mut client = TraceServiceClient::connect(address).await.unwrap();
    let (mut taken, mut refused, mut number) = (0, 0, 1);
    while refused < 500 || taken < 200 {
        let answer = collector.traces(&many("api", number, 37)).await;
        match answer.status.as_u16() {
            200 => taken += 37,
            429 => {
                assert_eq!(answer.headers["retry-after"], "1");
                refused += 37;
            }
            other => panic!("{other}: {:?}", answer.body),
        }
        match client.export(many("api", number + 37, 23)).await {
            Ok(_) => taken += 23,
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::ResourceExhausted);
                let details = String::from_utf8_lossy(status.details()).into_owned();
                assert!(details.contains("google.rpc.RetryInfo"), "{details}");
                refused += 23;
            }
        }
        number += 60;
    }
    assert_eq!(
        collector.counted("accepted_items_total", "traces").await,
        taken
    );
    assert_eq!(
        collector.counted("refused_items_total", "queue_full").await,
        refused
    );
    collector
        .until_counted("stored_items_total", "traces", taken)
        .await;
    assert_eq!(collector.counted("dropped_items_total", "").await, 0);
    assert!(collector.terminate().await.success());
    let stored: i64 = observastack_collector::store::open(store.path())
        .unwrap()
        .query_row("SELECT count(*) FROM spans", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored as u64, taken);
}

#[tokio::test]
async fn an_empty_request_is_fine() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let empty = ExportTraceServiceRequest::default();
    assert_eq!(collector.traces(&empty).await.status, 200);
}
