//! Requests find a working upstream, whatever happens to the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Method;
use serde_json::json;
use support::{
    client::{Connection, get, request, send},
    eventually,
    gateway::Gateway,
    upstream::{Behaviour, Upstream},
};

/// How often each upstream answered one of `count` requests.
async fn spread(gateway: &Gateway, count: usize) -> HashMap<String, usize> {
    let mut spread = HashMap::new();
    for number in 0..count {
        let answer = get(gateway.shop, &format!("/products/{number}")).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        *spread.entry(answer.served_by()).or_default() += 1;
    }
    spread
}

#[tokio::test]
async fn round_robin_gives_each_upstream_its_weight() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::before(&[&first, &second], json!({})).await;
    assert_eq!(
        spread(&gateway, 20).await,
        HashMap::from([(first.name().into(), 10), (second.name().into(), 10)])
    );

    let weighted = json!({"upstreams": [{"address": first.address, "weight": 1}, {"address": second.address, "weight": 4}]});
    gateway.patch(weighted).await;
    eventually("the new weights are used", async || {
        let spread = spread(&gateway, 20).await;
        (spread == HashMap::from([(first.name().into(), 4), (second.name().into(), 16)]))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_consistent_hash_sends_a_path_to_one_upstream_always() {
    let upstreams = [
        Upstream::start().await,
        Upstream::start().await,
        Upstream::start().await,
    ];
    let more = json!({"balancing": {"algorithm": "consistent_hash", "hash_on": "path"}});
    let gateway = Gateway::before(&upstreams.each_ref(), more).await;
    let mut used = HashSet::new();
    for number in 0..20 {
        let path = format!("/products/{number}");
        let first = get(gateway.shop, &path).await.served_by();
        for _ in 0..3 {
            assert_eq!(get(gateway.shop, &path).await.served_by(), first);
        }
        used.insert(first);
    }
    assert!(
        used.len() > 1,
        "20 paths cannot all hash to one of three upstreams"
    );
}

#[tokio::test]
async fn an_upstream_that_dies_costs_no_client_an_error() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    // Checks that take long to notice: the retries have to do it.
    let gateway = Gateway::before(
        &[&first, &second],
        json!({"health_check": {"interval_ms": 60000}}),
    )
    .await;
    spread(&gateway, 10).await;
    let address = first.kill().await;
    assert_eq!(
        spread(&gateway, 100).await,
        HashMap::from([(second.name().into(), 100)])
    );
    // Even a POST: nothing had been sent to the dead one.
    for _ in 0..4 {
        let answer = send(
            gateway.shop,
            request(Method::POST, "/orders", "{\"sku\":1}"),
        )
        .await
        .unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (200, &b"{\"sku\":1}"[..])
        );
    }
    let retries = gateway
        .metric(
            "observastack_gateway_retries_total",
            &["reason=\"connect_failure\""],
        )
        .await;
    assert!(retries >= 1.0);
    assert!(
        retries < 20.0,
        "{retries} retries: the dead upstream was not avoided"
    );
    let dead = format!("upstream=\"{address}\"");
    let failures = gateway
        .metric(
            "observastack_gateway_upstream_requests_total",
            &[&dead, "outcome=\"connect_failure\""],
        )
        .await;
    assert_eq!(failures, retries);
}

#[tokio::test]
async fn health_checks_take_an_upstream_out_and_bring_it_back() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::before(&[&first, &second], json!({})).await;
    gateway.until_healthy(2).await;

    first.set_healthy(false);
    gateway.until_healthy(1).await;
    assert_eq!(
        spread(&gateway, 10).await,
        HashMap::from([(second.name().into(), 10)])
    );
    let gauge = format!("upstream=\"{}\"", first.name());
    eventually("the gauge shows it", async || {
        (gateway
            .metric("observastack_gateway_upstream_healthy", &[&gauge])
            .await
            == 0.0)
            .then_some(())
    })
    .await;

    first.set_healthy(true);
    gateway.until_healthy(2).await;
    assert_eq!(spread(&gateway, 10).await.len(), 2);
}

#[tokio::test]
async fn with_no_healthy_upstream_the_gateway_says_so() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({})).await;
    gateway.until_healthy(1).await;
    assert_eq!(get(gateway.ops, "/healthz").await.status, 200);
    only.set_healthy(false);
    gateway.until_healthy(0).await;
    let answer = get(gateway.shop, "/products").await;
    assert_eq!(answer.kind(), (503, "no_healthy_upstream".into()));
    assert_eq!(answer.json()["source"], "upstream");
    assert_eq!(answer.header("retry-after"), "1");
    eventually("the operations page shows it", async || {
        (get(gateway.ops, "/healthz").await.status == 503).then_some(())
    })
    .await;
    // Switched off, the checks no longer keep traffic away.
    gateway
        .patch(json!({"health_check": {"enabled": false}}))
        .await;
    gateway.until_healthy(1).await;
    assert_eq!(get(gateway.shop, "/products").await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_is_down_at_the_start_gets_no_request() {
    let (dead, alive) = (Upstream::start().await, Upstream::start().await);
    let config = support::gateway::config(
        &[&dead, &alive],
        json!({"health_check": {"interval_ms": 60000}}),
    );
    dead.kill().await;
    let gateway = Gateway::start(config).await;
    gateway.until_healthy(1).await;
    spread(&gateway, 10).await;
    assert_eq!(
        gateway
            .metric("observastack_gateway_retries_total", &[])
            .await,
        0.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstreams_are_swapped_under_load_without_an_error() {
    let (first, second, third) = (
        Upstream::start().await,
        Upstream::start().await,
        Upstream::start().await,
    );
    let gateway = Arc::new(Gateway::before(&[&first], json!({})).await);
    let (stop, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (gateway, stop, served) =
                (Arc::clone(&gateway), Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move {
                let mut connection = Connection::open(gateway.shop).await.unwrap();
                while !stop.load(Ordering::SeqCst) {
                    // POST: no retry can hide a dropped request.
                    let answer = connection
                        .send(request(Method::POST, &format!("/orders?{client}"), "x"))
                        .await
                        .unwrap();
                    assert_eq!(answer.status, 200, "{:?}", answer.body);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let progress = async |by: usize| {
        let from = served.load(Ordering::SeqCst);
        eventually("requests are served", async || {
            (served.load(Ordering::SeqCst) >= from + by).then_some(())
        })
        .await;
    };
    // One that hangs over all the changes is finished where it is.
    first.behave(Behaviour::Hang);
    let hanging = tokio::spawn({
        let shop = gateway.shop;
        async move { get(shop, "/products/slow").await }
    });
    eventually("a request hangs", async || {
        (first.waiting() > 8).then_some(())
    })
    .await;
    first.behave(Behaviour::Answer);
    for round in 0..10 {
        let upstream = if round % 2 == 0 { &second } else { &third };
        let algorithm = ["round_robin", "random", "consistent_hash"][round % 3];
        let change = json!({"upstreams": [{"address": upstream.address}], "balancing": {"algorithm": algorithm}});
        gateway.patch(change).await;
        if round == 0 {
            first.release();
        }
        let before = upstream.requests();
        eventually("the new upstream is used", async || {
            (upstream.requests() > before).then_some(())
        })
        .await;
        progress(50).await;
    }
    assert_eq!(hanging.await.unwrap().body, "late");
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let gone = format!("upstream=\"{}\"", first.name());
    assert_eq!(
        gateway
            .metric("observastack_gateway_upstream_healthy", &[&gone])
            .await,
        0.0
    );
    assert_eq!(
        gateway
            .metric("observastack_gateway_retries_total", &[])
            .await,
        0.0
    );
}

#[tokio::test]
async fn connections_to_an_upstream_are_reused_unless_that_is_switched_off() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({})).await;
    spread(&gateway, 20).await;
    // An answer can be with the client before its connection is back in the pool, so not exactly one.
    let with_reuse = only.connections();
    assert!(with_reuse < 10, "{with_reuse} connections for 20 requests");
    gateway
        .patch(json!({"keepalive": {"upstream_idle_ms": 0}}))
        .await;
    spread(&gateway, 20).await;
    let without_reuse = only.connections() - with_reuse;
    // The first few may still use the connections of before.
    assert!(
        without_reuse > 10,
        "{without_reuse} connections for 20 requests"
    );
    let new = gateway
        .metric(
            "observastack_gateway_upstream_connections_total",
            &["reused=\"false\""],
        )
        .await;
    assert_eq!(new, only.connections() as f64);
}

#[tokio::test]
async fn idle_upstream_connections_are_closed_after_their_time() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({"keepalive": {"upstream_idle_ms": 1}})).await;
    get(gateway.shop, "/products").await;
    eventually("a second connection is made", async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        get(gateway.shop, "/products").await;
        (only.connections() > 1).then_some(())
    })
    .await;
}
