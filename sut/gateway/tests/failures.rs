//! What clients see when upstreams fail, and what retries do about it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use support::{
    client::{Connection, get, request, send},
    eventually,
    gateway::Gateway,
    upstream::{Behaviour, Upstream},
};

const UPSTREAM_REQUESTS: &str = "observastack_gateway_upstream_requests_total";
const RETRIES: &str = "observastack_gateway_retries_total";
const EXHAUSTED: &str = "observastack_gateway_retry_budget_exhausted_total";

fn retries(on: &[&str], max_attempts: usize) -> serde_json::Value {
    json!({"retries": {
        "on": on, "max_attempts": max_attempts, "budget": {"ratio": 10.0, "min_per_second": 1000},
    }})
}

#[tokio::test]
async fn a_refused_connection_is_a_502_that_names_the_upstream() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({"health_check": {"enabled": false}})).await;
    let address = only.kill().await;
    let answer = get(gateway.shop, "/products").await;
    assert_eq!(answer.kind(), (502, "connect_failure".into()));
    let body = answer.json();
    assert_eq!(body["source"], "upstream");
    assert!(
        body["error"]
            .as_str()
            .unwrap()
            .contains(&address.to_string()),
        "{body}"
    );
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    let failures = gateway
        .metric(UPSTREAM_REQUESTS, &["outcome=\"connect_failure\""])
        .await;
    assert_eq!(failures, 2.0, "the first attempt and one retry");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_a_504() {
    let only = Upstream::start().await;
    only.behave(Behaviour::Hang);
    let gateway = Gateway::before(&[&only], json!({"timeouts": {"read_ms": 100}})).await;
    let answer = get(gateway.shop, "/products").await;
    assert_eq!(answer.kind(), (504, "timeout".into()));
    assert_eq!(
        gateway
            .metric(UPSTREAM_REQUESTS, &["outcome=\"timeout\""])
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_timeout_is_tried_again_for_idempotent_methods_when_asked_for() {
    let (slow, quick) = (Upstream::start().await, Upstream::start().await);
    slow.behave(Behaviour::Hang);
    let gateway = Gateway::before(&[&slow, &quick], retries(&["timeout"], 2)).await;
    gateway.patch(json!({"timeouts": {"read_ms": 100}})).await;
    for _ in 0..4 {
        let answer = get(gateway.shop, "/products").await;
        assert_eq!(
            (answer.status.as_u16(), answer.served_by()),
            (200, quick.name().to_owned())
        );
    }
    assert_eq!(gateway.metric(RETRIES, &["reason=\"timeout\""]).await, 2.0);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(
            send(gateway.shop, request(Method::POST, "/orders", "x"))
                .await
                .unwrap()
                .status
                .as_u16(),
        );
    }
    statuses.sort_unstable();
    assert_eq!(
        statuses,
        [200, 200, 504, 504],
        "a POST may have had its effect"
    );
}

#[tokio::test]
async fn the_total_time_holds_over_all_attempts_and_ends_a_trickling_answer() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let more = json!({"timeouts": {"read_ms": 60000, "total_ms": 300}});
    let gateway = Gateway::before(&[&first, &second], more).await;
    gateway.patch(retries(&["timeout"], 10)).await;
    first.behave(Behaviour::Hang);
    second.behave(Behaviour::Hang);
    let start = Instant::now();
    let answer = get(gateway.shop, "/products").await;
    assert_eq!(answer.kind(), (504, "total_timeout".into()));
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(
        gateway.metric(RETRIES, &[]).await,
        0.0,
        "no time is left for a retry"
    );

    first.behave(Behaviour::Trickle(Duration::from_millis(20)));
    second.behave(Behaviour::Trickle(Duration::from_millis(20)));
    // The head is long gone to the client: all that can be done is to break the connection.
    send(gateway.shop, request(Method::GET, "/products", ""))
        .await
        .unwrap_err();
    assert_eq!(
        gateway
            .metric(UPSTREAM_REQUESTS, &["outcome=\"timeout\""])
            .await,
        2.0
    );
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_unless_that_could_do_harm() {
    let (broken, good) = (Upstream::start().await, Upstream::start().await);
    broken.behave(Behaviour::Reset);
    let gateway = Gateway::before(&[&broken, &good], retries(&["reset"], 2)).await;
    for _ in 0..6 {
        let answer = send(
            gateway.shop,
            request(Method::PUT, "/orders/1", "the whole body"),
        )
        .await
        .unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, &b"the whole body"[..])
        );
    }
    assert_eq!(gateway.metric(RETRIES, &["reason=\"reset\""]).await, 3.0);
    let mut posts = Vec::new();
    for _ in 0..4 {
        posts.push(
            send(gateway.shop, request(Method::POST, "/orders", "x"))
                .await
                .unwrap()
                .kind(),
        );
    }
    posts.sort();
    let refused = (502, "broken_answer".to_owned());
    assert_eq!(
        posts,
        [
            (200, String::new()),
            (200, String::new()),
            refused.clone(),
            refused
        ]
    );
    // Pingora keeps 64 KiB of a body to send it again; of a longer one it cannot.
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let answer = send(
            gateway.shop,
            request(Method::PUT, "/orders/1", vec![b'x'; 200_000]),
        )
        .await
        .unwrap();
        statuses.push(answer.status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[tokio::test]
async fn statuses_are_tried_again_when_asked_for_and_otherwise_passed_on() {
    let (bad, good) = (Upstream::start().await, Upstream::start().await);
    bad.behave(Behaviour::Status(503));
    let gateway = Gateway::before(&[&bad, &good], json!({})).await;
    let mut statuses = [
        get(gateway.shop, "/products").await,
        get(gateway.shop, "/products").await,
    ];
    statuses.sort_by_key(|answer| answer.status);
    assert_eq!(
        (statuses[0].status.as_u16(), statuses[1].status.as_u16()),
        (200, 503)
    );
    assert_eq!(
        statuses[1].json()["from"],
        "upstream",
        "the upstream's own answer"
    );

    gateway.patch(retries(&["status"], 2)).await;
    for _ in 0..6 {
        assert_eq!(
            get(gateway.shop, "/products").await.served_by(),
            good.name()
        );
    }
    assert_eq!(gateway.metric(RETRIES, &["reason=\"status\""]).await, 3.0);
    // A status that is not in the list, and the last attempt's answer, are the client's.
    bad.behave(Behaviour::Status(500));
    good.behave(Behaviour::Status(500));
    assert_eq!(
        get(gateway.shop, "/products").await.json()["from"],
        "upstream"
    );
    bad.behave(Behaviour::Status(503));
    good.behave(Behaviour::Status(503));
    assert_eq!(
        get(gateway.shop, "/products").await.json()["from"],
        "upstream"
    );
}

#[tokio::test]
async fn under_total_failure_retries_stay_within_their_budget() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    first.behave(Behaviour::Status(503));
    second.behave(Behaviour::Status(503));
    let more = json!({"retries": {
        "on": ["status"], "max_attempts": 4, "budget": {"ratio": 0.2, "min_per_second": 0, "window_ms": 60000},
    }});
    let gateway = Gateway::before(&[&first, &second], more).await;
    let requests = 500;
    let mut connection = Connection::open(gateway.shop).await.unwrap();
    for _ in 0..requests {
        assert_eq!(connection.get("/products").await.unwrap().status, 503);
    }
    let attempts = first.requests() + second.requests();
    let retries = gateway.metric(RETRIES, &[]).await;
    assert_eq!(
        attempts,
        requests + retries as usize,
        "the counter and the upstreams agree"
    );
    let amplification = attempts as f64 / requests as f64;
    assert!(
        amplification <= 1.2,
        "the load was multiplied by {amplification}"
    );
    assert!(
        amplification >= 1.19,
        "the budget was not used: {amplification}"
    );
    assert!(gateway.metric(EXHAUSTED, &["reason=\"status\""]).await >= 300.0);
}

#[tokio::test]
async fn a_client_that_goes_away_is_not_the_upstreams_failure() {
    let only = Upstream::start().await;
    only.behave(Behaviour::Hang);
    let gateway = Gateway::before(&[&only], json!({})).await;
    let shop = gateway.shop;
    let client = tokio::spawn(async move { get(shop, "/products").await });
    eventually("the request hangs", async || {
        (only.waiting() == 1).then_some(())
    })
    .await;
    client.abort();
    eventually("it is noticed", async || {
        (gateway
            .metric(UPSTREAM_REQUESTS, &["outcome=\"client_abort\""])
            .await
            == 1.0)
            .then_some(())
    })
    .await;
    let series = [
        "http_response_status_code=\"499\"",
        "http_route=\"/products\"",
    ];
    assert_eq!(
        gateway
            .metric("http_server_request_duration_seconds_count", &series)
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_client_that_stalls_is_not_the_upstreams_failure() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({"timeouts": {"read_ms": 100}})).await;
    let mut stream = tokio::net::TcpStream::connect(gateway.shop).await.unwrap();
    stream
        .write_all(b"POST /orders HTTP/1.1\r\nhost: shop\r\ncontent-length: 10\r\n\r\nhalf")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("slow_request"), "{answer}");
    assert_eq!(
        gateway
            .metric(UPSTREAM_REQUESTS, &["outcome=\"timeout\""])
            .await,
        0.0
    );
}
