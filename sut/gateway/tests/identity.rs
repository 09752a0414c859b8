//! Request ids, traces and what upstreams and logs learn of a request.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use http::Method;
use serde_json::json;
use support::{
    client::{get, request, send},
    eventually,
    gateway::Gateway,
    upstream::{Behaviour, Upstream},
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn a_clients_id_and_trace_go_through_to_the_upstream_and_back() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({})).await;
    let mut sent = request(Method::GET, "/products/1", "");
    for (name, value) in [
        ("x-request-id", "order-17"),
        ("traceparent", PARENT),
        ("tracestate", "vendor=1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("connection", "x-secret"),
        ("x-secret", "hop by hop"),
    ] {
        sent.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = send(gateway.shop, sent).await.unwrap();
    let seen = only.head("/products/1");
    let seen = |name: &str| {
        seen.get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };

    assert_eq!(
        (answer.header("x-request-id"), seen("x-request-id").as_str()),
        ("order-17", "order-17")
    );
    let told = answer.header("traceparent").to_owned();
    assert!(answer.header("server-timing").contains(&told));
    for parent in [told.as_str(), &seen("traceparent")] {
        assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(parent.ends_with("-01"));
    }
    assert_ne!(told, PARENT, "the gateway is a span of its own");
    assert_ne!(
        seen("traceparent"),
        told,
        "and so is its call to the upstream"
    );
    assert_eq!(seen("tracestate"), "vendor=1");
    assert_eq!(
        (seen("host").as_str(), seen("x-forwarded-for").as_str()),
        ("shop", "127.0.0.1")
    );
    assert_eq!(seen("x-secret"), "");
}

#[tokio::test]
async fn without_a_valid_id_or_trace_the_gateway_makes_them() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({})).await;
    let mut sent = request(Method::GET, "/products/1", "");
    for (name, value) in [
        ("x-request-id", "not sane"),
        ("traceparent", "00-0-0-0"),
        ("tracestate", "vendor=1"),
    ] {
        sent.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = send(gateway.shop, sent).await.unwrap();
    let seen = only.head("/products/1");
    assert_eq!(answer.header("x-request-id").len(), 36);
    assert_eq!(seen["x-request-id"], answer.header("x-request-id"));
    let told = answer.header("traceparent");
    assert_eq!(told.len(), PARENT.len());
    assert_eq!(seen["traceparent"].to_str().unwrap()[..35], told[..35]);
    assert!(
        !seen.contains_key("tracestate"),
        "state without its trace means nothing"
    );

    let other = get(gateway.shop, "/products/1").await;
    assert_ne!(other.header("x-request-id"), answer.header("x-request-id"));
    assert_ne!(
        other.header("traceparent")[3..35],
        answer.header("traceparent")[3..35]
    );
}

#[tokio::test]
async fn requests_are_counted_by_route_status_and_config_version() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({})).await;
    for sku in 0..3 {
        get(gateway.shop, &format!("/products/{sku}")).await;
    }
    let count = "http_server_request_duration_seconds_count";
    let labels = [
        "http_request_method=\"GET\"",
        "http_route=\"/products/{sku}\"",
        "http_response_status_code=\"200\"",
    ];
    eventually("three requests are counted", async || {
        let counted = gateway
            .metric(count, &[&labels[..], &["config_version=\"1\""]].concat())
            .await;
        (counted == 3.0).then_some(())
    })
    .await;
    gateway.patch(json!({"timeouts": {"read_ms": 1234}})).await;
    only.behave(Behaviour::Status(404));
    get(gateway.shop, "/products/none").await;
    let labels = [
        "http_route=\"/products/{sku}\"",
        "http_response_status_code=\"404\"",
        "config_version=\"2\"",
    ];
    eventually("the fourth is counted under the new version", async || {
        (gateway.metric(count, &labels).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(
        gateway
            .metric(
                "observastack_gateway_upstream_requests_total",
                &["outcome=\"success\""]
            )
            .await,
        3.0
    );
    assert_eq!(
        gateway
            .metric(
                "observastack_gateway_upstream_requests_total",
                &["outcome=\"client_error\""]
            )
            .await,
        1.0
    );
}

#[tokio::test]
async fn the_access_log_says_what_happened_and_how_much_of_it_is_configurable() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({"access_log": "errors"})).await;
    let mut sent = request(Method::GET, "/products/quiet?password=1", "");
    sent.headers_mut()
        .insert("x-request-id", "quiet".parse().unwrap());
    send(gateway.shop, sent).await.unwrap();
    only.behave(Behaviour::Reset);
    let mut sent = request(Method::POST, "/orders?password=1", "12345");
    sent.headers_mut()
        .insert("x-request-id", "loud".parse().unwrap());
    sent.headers_mut()
        .insert("traceparent", PARENT.parse().unwrap());
    send(gateway.shop, sent).await.unwrap();
    let line = eventually("the error is logged", async || {
        gateway
            .log()
            .into_iter()
            .find(|line| line.contains("\"loud\""))
    })
    .await;
    for part in [
        "WARN access: POST /orders 502",
        "trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"",
        "http_route=\"/orders\"",
        "http_status=502",
        "attempts=1",
        "error_kind=\"broken_answer\"",
        "served_under_version=1",
        "config_version=1",
        &format!("upstream=\"{}\"", only.name()),
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let log = gateway.log().join("\n");
    assert!(!log.contains("quiet") && !log.contains("password"), "{log}");
}
