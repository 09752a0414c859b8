//! What is found, and how questions are answered.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Collector, attribute, attribute_of, failed, log, logs_of, many, span, traces_of};
use observastack_collector::query::{OPENAPI, ROUTES};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// One order through three services, with a failure at its end, and some reading around it.
async fn shop(collector: &Collector) {
    let mut call = span(0xabc, 2, 1, "POST /orders");
    call.kind = 3;
    let mut query = failed(span(0xabc, 5, 3, "INSERT orders"));
    query.kind = 3;
    query.attributes = vec![
        attribute("db.system.name", "postgresql"),
        attribute("odd\"key", "1"),
    ];
    let mut served = failed(span(0xabc, 3, 2, "POST /orders"));
    served.end_time_unix_nano = served.start_time_unix_nano + 2_000_000_000;
    served.attributes.push(attribute("order.id", "o-17"));
    served.attributes.extend([
        attribute_of("http.response.status_code", Attribute::IntValue(503)),
        attribute_of("share", Attribute::DoubleValue(0.5)),
        attribute_of("is_gift", Attribute::BoolValue(true)),
    ]);
    for request in [
        traces_of("api", vec![served, query]),
        traces_of("gateway", vec![span(0xabc, 1, 0, "POST /orders"), call]),
        many("inventory", 0x1000, 30),
    ] {
        assert_eq!(collector.traces(&request).await.status, 200);
    }
    let mut record = log(17, "order o-17 was refused: \"no stock\"");
    record.trace_id = 0xabc_u128.to_be_bytes().to_vec();
    let quiet = log(9, "listening on 127.0.0.1:8101");
    assert_eq!(
        collector
            .logs(&logs_of("api", vec![quiet, record]))
            .await
            .status,
        200
    );
    assert_eq!(
        collector
            .logs(&logs_of("inventory", vec![log(13, "stock is low")]))
            .await
            .status,
        200
    );
    collector
        .until_counted("stored_items_total", "traces", 34)
        .await;
    collector
        .until_counted("stored_items_total", "logs", 3)
        .await;
}

#[tokio::test]
async fn traces_are_found_by_what_one_of_their_spans_is() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    shop(&collector).await;
    let order = format!("{:032x}", 0xabc);
    for (query, found) in [
        ("service=api", 1),
        ("service=inventory", 20),
        ("service=inventory&limit=30", 30),
        ("service=nobody", 0),
        ("operation=POST+/orders", 1),
        ("operation=GET+/orders&limit=100", 30),
        ("min_duration=1s", 1),
        ("min_duration=1s&service=gateway", 0),
        ("max_duration=1s&service=api", 1),
        ("status=error", 1),
        ("status=ok", 0),
        ("attribute=order.id%3Do-17", 1),
        (
            "attribute=order.id%3Do-17&attribute=http.route%3D/orders",
            1,
        ),
        ("attribute=order.id%3Do-18", 0),
        ("attribute=http.response.status_code%3D503", 1),
        ("attribute=http.response.status_code%3D50", 0),
        ("attribute=share%3D0.5", 1),
        ("attribute=is_gift%3Dtrue", 1),
        ("attribute=is_gift%3Dfalse", 0),
        // The names of JSON's types are no values.
        ("attribute=order.id%3Dtext", 0),
        ("attribute=service.name%3Dgateway", 1),
        ("from=0&to=1000", 0),
    ] {
        let answer = collector
            .query(&format!("/api/traces?{query}"))
            .await
            .json();
        let traces = answer["traces"].as_array().unwrap();
        assert_eq!(traces.len(), found, "{query}: {answer}");
        assert_eq!(answer["complete"], true);
        if found == 1 {
            assert_eq!(traces[0]["trace_id"], order.as_str());
            assert_eq!(traces[0]["service"], "gateway");
            assert_eq!(
                (traces[0]["spans"].as_u64(), traces[0]["errors"].as_u64()),
                (Some(4), Some(2))
            );
            assert!(traces[0]["duration_ns"].as_u64().unwrap() >= 2_000_000_000);
        }
    }
    let trace = collector
        .query(&format!("/api/traces/{order}"))
        .await
        .json();
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 4);
    assert!(
        spans
            .iter()
            .any(|span| span["status_message"] == "no stock" && span["kind"] == "client")
    );
}

#[tokio::test]
async fn logs_are_found_by_words_level_sender_and_trace() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    shop(&collector).await;
    let by_trace = format!("trace_id={:032x}", 0xabc);
    for (query, found) in [
        ("", 3),
        ("text=stock", 2),
        ("text=refus", 1),
        ("text=order+o-17", 1),
        ("text=o-18", 0),
        ("text=127.0.0.1:8101", 1),
        ("text=%22no+AND+(", 0),
        ("level=warn", 2),
        ("level=error&service=api", 1),
        ("unit=inventory", 1),
        (by_trace.as_str(), 1),
        ("limit=2", 2),
    ] {
        let answer = collector.query(&format!("/api/logs?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {:?}", answer.body);
        assert_eq!(
            answer.json()["logs"].as_array().unwrap().len(),
            found,
            "{query}: {}",
            answer.json()
        );
    }
    let error = collector.query("/api/logs?level=error").await.json();
    assert_eq!(error["logs"][0]["level"], "error");
    assert_eq!(error["logs"][0]["service"], "api");
}

#[tokio::test]
async fn the_map_has_every_call_once_with_its_errors() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    shop(&collector).await;
    let map = collector.query("/api/map").await.json();
    let edges: BTreeMap<(&str, &str), (u64, u64)> = map["edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let text = |name: &str| edge[name].as_str().unwrap();
            let number = |name: &str| edge[name].as_u64().unwrap();
            (
                (text("client"), text("server")),
                (number("calls"), number("errors")),
            )
        })
        .collect();
    assert_eq!(
        edges,
        BTreeMap::from([
            (("gateway", "api"), (1, 1)),
            (("api", "postgresql"), (1, 1))
        ])
    );
    let nodes = map["nodes"].as_array().unwrap();
    let inventory = nodes
        .iter()
        .find(|node| node["service"] == "inventory")
        .unwrap();
    assert_eq!(inventory["calls"], 30);
    assert!(inventory["calls_per_s"].as_f64().unwrap() > 0.0);
    let services = collector.query("/api/services").await.json();
    assert_eq!(
        services["services"],
        serde_json::json!(["api", "gateway", "inventory"])
    );
}

#[tokio::test]
async fn a_live_tail_shows_what_comes_and_ends_with_the_collector() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let stream = tokio::net::TcpStream::connect(collector.address("query"))
        .await
        .unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write
        .write_all(b"GET /api/logs/tail?level=warn&text=stock HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    while lines.next_line().await.unwrap().unwrap() != ": listening" {}
    let records = vec![
        log(9, "stock is fine"),
        log(13, "order 3"),
        log(13, "no Stock"),
    ];
    assert_eq!(
        collector.logs(&logs_of("inventory", records)).await.status,
        200
    );
    let shown = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            break serde_json::from_str::<Value>(data).unwrap();
        }
    };
    assert_eq!(shown["body"], "no Stock");
    assert!(collector.terminate().await.success());
    while lines.next_line().await.ok().flatten().is_some() {}
}

#[tokio::test]
async fn errors_say_what_was_wrong_and_what_would_be_right() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    for (path, status, text) in [
        (
            "/api/traces?servce=a",
            400,
            "no parameter \"servce\"; allowed: service, operation",
        ),
        ("/api/traces?status=bad", 400, "expected: unset, ok, error"),
        (
            "/api/traces?min_duration=1",
            400,
            "a duration such as 150ms",
        ),
        ("/api/traces/12", 400, "32 hexadecimal digits"),
        (
            "/api/traces/0123456789abcdef0123456789abcdef",
            404,
            "was never received",
        ),
        (
            "/api/logs?level=loud",
            400,
            "trace, debug, info, warn, error, fatal",
        ),
        ("/api/logs?from=1h&to=2h", 400, "a time before `to`"),
        ("/api/flamegraph", 400, "\"service\" is missing"),
        ("/api/nothing", 404, "see /openapi.json"),
    ] {
        let answer = collector.query(path).await;
        assert_eq!(answer.status, status, "{path}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(text), "{path}: {error}");
    }
}

/// The description has every route with every parameter, and no other; each route is served; each reference leads somewhere.
#[tokio::test]
async fn the_description_is_what_is_served() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let description: Value = serde_json::from_str(OPENAPI).unwrap();
    let described: BTreeMap<&str, BTreeSet<&str>> = description["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let parameters = item["get"]["parameters"].as_array().unwrap().iter();
            let of_query = parameters.filter(|parameter| parameter["in"] == "query");
            (
                path.as_str(),
                of_query
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect(),
            )
        })
        .collect();
    let served: BTreeMap<&str, BTreeSet<&str>> = ROUTES
        .iter()
        .map(|route| (route.path, route.parameters.iter().copied().collect()))
        .collect();
    assert_eq!(described, served);
    assert_eq!(collector.query("/openapi.json").await.json(), description);

    shop(&collector).await;
    for (path, schema) in [
        ("/api/traces", "TracesFound"),
        ("/api/traces/00000000000000000000000000000abc", "Trace"),
        ("/api/logs", "LogsFound"),
        ("/api/services", "Services"),
        ("/api/map", "ServiceMap"),
        ("/api/flamegraph?service=api", "FlameGraph"),
        ("/api/nothing", "Error"),
    ] {
        let answer = collector.query(path).await.json();
        let reference = serde_json::json!({"$ref": format!("#/components/schemas/{schema}")});
        fits(&description, &reference, &answer, path);
    }
}

/// As much of JSON Schema as the description uses; properties that are not described are an error here.
fn fits(description: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = description.pointer(reference.trim_start_matches('#'));
        return fits(description, target.expect(reference), value, place);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        _ => return,
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    assert!(kinds.iter().any(is), "{place}: {value} is no {kinds:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(description, &schema["items"], item, place);
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for required in schema["required"].as_array().unwrap() {
            assert!(
                object.contains_key(required.as_str().unwrap()),
                "{place}: {required}"
            );
        }
        for (name, value) in object {
            let property = properties
                .get(name)
                .unwrap_or_else(|| panic!("{place}: {name}"));
            fits(description, property, value, &format!("{place}.{name}"));
        }
    }
}
