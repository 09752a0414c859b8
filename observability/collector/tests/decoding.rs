//! Whatever comes, decoding ends with a value or an error.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used
)]

mod common;

use common::{failed, gzip, log, logs_of, span, traces_of};
use observastack_collector::{convert, otlp, profiles};
use observastack_telemetry::pprof::PushRequest;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value};
use proptest::prelude::*;
use prost::Message as _;

/// Everything that takes bytes from outside.
fn decode(bytes: &[u8]) {
    if let Ok(request) = ExportTraceServiceRequest::decode(bytes) {
        let converted = convert::spans(&request);
        for row in &converted.rows {
            serde_json::from_str::<serde_json::Value>(&row.attributes).unwrap();
            assert!(row.duration_ns >= 0 && row.start_ns >= 0);
        }
    }
    if let Ok(request) = ExportLogsServiceRequest::decode(bytes) {
        for row in convert::logs(&request).rows {
            serde_json::from_str::<serde_json::Value>(&row.attributes).unwrap();
        }
    }
    if let Ok(request) = ExportMetricsServiceRequest::decode(bytes) {
        let _ = convert::data_points(&request);
    }
    let _ = serde_json::from_slice::<ExportTraceServiceRequest>(bytes);
    let _ = serde_json::from_slice::<ExportLogsServiceRequest>(bytes);
    let _ = serde_json::from_slice::<ExportMetricsServiceRequest>(bytes);
    let _ = PushRequest::decode(bytes);
    let _ = profiles::decode(bytes);
    if let Ok(unpacked) = otlp::inflate(bytes, 1 << 16, |_| true) {
        assert!(unpacked.len() <= 1 << 16);
    }
}

fn valid() -> Vec<Vec<u8>> {
    let traces = traces_of("api", vec![span(1, 1, 0, "a"), failed(span(1, 2, 1, "b"))]);
    let logs = logs_of("api", vec![log(9, "hello"), log(99, "")]);
    vec![
        traces.encode_to_vec(),
        logs.encode_to_vec(),
        serde_json::to_vec(&traces).unwrap(),
        serde_json::to_vec(&logs).unwrap(),
        gzip(&traces.encode_to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        decode(&bytes);
    }

    #[test]
    fn a_valid_message_with_some_bytes_changed(
        which in 0..5_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = valid().swap_remove(which);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        decode(&bytes);
    }
}

#[test]
fn every_beginning_of_a_valid_message() {
    for message in valid() {
        for length in 0..=message.len() {
            decode(&message[..length]);
        }
    }
}

#[test]
fn values_that_are_deep_in_each_other() {
    let mut value = AnyValue {
        value: Some(any_value::Value::BoolValue(true)),
    };
    for _ in 0..5_000 {
        value = AnyValue {
            value: Some(any_value::Value::ArrayValue(ArrayValue {
                values: vec![value],
            })),
        };
    }
    let mut record = log(9, "");
    record.body = Some(value);
    // prost refuses to decode it; what is refused is not converted.
    let bytes = logs_of("api", vec![record]).encode_to_vec();
    assert!(ExportLogsServiceRequest::decode(bytes.as_slice()).is_err());
    let json = format!("{{\"resourceLogs\":{}", "[".repeat(100_000));
    assert!(serde_json::from_slice::<ExportLogsServiceRequest>(json.as_bytes()).is_err());
}
