//! The inventory's own process against a real PostgreSQL: what it promises its callers, under concurrency and trouble.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use support::{Cluster, LockHolder, Service, eventually};

fn start(cluster: &Cluster, site_config: &Value) -> Service {
    Service::start(
        env!("CARGO_BIN_EXE_observastack-inventory"),
        cluster,
        &[],
        site_config,
    )
}

fn reservation(key: &str, lines: &[(&str, i32)]) -> Value {
    let lines: Vec<Value> = lines
        .iter()
        .map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}))
        .collect();
    json!({"key": key, "lines": lines})
}

fn set_stock(cluster: &Cluster, sku: &str, on_hand: i32) {
    cluster.sql(
        "shop",
        &format!("UPDATE stock.items SET on_hand = {on_hand}, reserved = 0 WHERE sku = '{sku}'"),
    );
}

fn reserved(cluster: &Cluster, sku: &str) -> i64 {
    cluster.number(&format!(
        "SELECT reserved FROM stock.items WHERE sku = '{sku}'"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_reservations_at_once_never_take_more_than_there_is() {
    let cluster = Cluster::start();
    let service = start(&cluster, &json!({})).ready().await;
    set_stock(&cluster, "P00001", 20);
    set_stock(&cluster, "P00002", 1_000);

    // Half of them name the products in the other order: locks taken in the order of the request would deadlock.
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let client = service.client.clone();
            let mut lines = [("P00001", 1), ("P00002", 1)];
            if n % 2 == 1 {
                lines.reverse();
            }
            let body = reservation(&format!("order-{n}"), &lines);
            tokio::spawn(async move { client.post("/reservations", &body).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status.as_u16() {
            201 => created += 1,
            409 => {
                assert_eq!(answer.error_code(), "insufficient_stock");
                assert_eq!(answer.json()["error"]["sku"], "P00001");
                assert_eq!(answer.json()["error"]["available"], 0);
            }
            other => panic!("{other}: {}", answer.text),
        }
    }
    assert_eq!(created, 20);
    assert_eq!(
        (reserved(&cluster, "P00001"), reserved(&cluster, "P00002")),
        (20, 20)
    );
    assert_eq!(
        cluster.number("SELECT count(*) FROM stock.reservations"),
        20,
        "refused ones leave nothing behind"
    );
    assert_eq!(
        service
            .client
            .metric("observastack_inventory_reservations_total{outcome=\"created\"}")
            .await,
        20.0
    );
}

#[tokio::test]
async fn a_reservation_of_several_items_takes_all_or_nothing() {
    let cluster = Cluster::start();
    let service = start(&cluster, &json!({})).ready().await;
    set_stock(&cluster, "P00007", 3);
    for (lines, status, code) in [
        (
            vec![("P00005", 2), ("P00007", 4)],
            409,
            "insufficient_stock",
        ),
        (vec![("P00005", 2), ("P99999", 1)], 422, "unknown_sku"),
        (vec![("P00005", 2), ("P00007", 0)], 422, "invalid_request"),
        (vec![("P00005", 2), ("P00005", 1)], 422, "invalid_request"),
    ] {
        let answer = service
            .client
            .post("/reservations", &reservation("k", &lines))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (status, code),
            "{}",
            answer.text
        );
        assert_eq!(
            (reserved(&cluster, "P00005"), reserved(&cluster, "P00007")),
            (0, 0)
        );
    }
    let answer = service
        .client
        .post(
            "/reservations",
            &reservation("k", &[("P00005", 2), ("P00007", 3)]),
        )
        .await;
    assert_eq!(answer.status, 201, "a refused key can be used again");
    assert_eq!(
        (reserved(&cluster, "P00005"), reserved(&cluster, "P00007")),
        (2, 3)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_reserves_once_however_often_and_concurrently_it_comes() {
    let cluster = Cluster::start();
    let service = start(&cluster, &json!({})).ready().await;
    let body = reservation("order-1", &[("P00003", 2), ("P00004", 1)]);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (client, body) = (service.client.clone(), body.clone());
            tokio::spawn(async move { client.post("/reservations", &body).await.status.as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[19], 201);
    assert!(
        statuses[..19].iter().all(|status| *status == 200),
        "{statuses:?}"
    );
    assert_eq!(
        (reserved(&cluster, "P00003"), reserved(&cluster, "P00004")),
        (2, 1)
    );

    let other = service
        .client
        .post("/reservations", &reservation("order-1", &[("P00003", 3)]))
        .await;
    assert_eq!(
        (other.status.as_u16(), other.error_code().as_str()),
        (409, "reservation_key_in_use")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_gives_back_once_and_outlaws_the_key_even_when_it_comes_first() {
    let cluster = Cluster::start();
    let service = start(&cluster, &json!({})).ready().await;
    let client = &service.client;
    let body = reservation("order-1", &[("P00003", 2)]);
    assert_eq!(client.post("/reservations", &body).await.status, 201);

    let releases: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                client
                    .send(Method::DELETE, "/reservations/order-1", &[], "")
                    .await
            })
        })
        .collect();
    let mut gave_back = 0;
    for release in releases {
        let answer = release.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text);
        gave_back += answer.json()["lines"].as_array().unwrap().len();
    }
    assert_eq!(gave_back, 1);
    assert_eq!(reserved(&cluster, "P00003"), 0);
    assert_eq!(
        client.post("/reservations", &body).await.error_code(),
        "reservation_released"
    );

    assert_eq!(
        client
            .send(Method::DELETE, "/reservations/order-2", &[], "")
            .await
            .status,
        200
    );
    let late = client
        .post("/reservations", &reservation("order-2", &[("P00003", 1)]))
        .await;
    assert_eq!(
        (late.status.as_u16(), late.error_code().as_str()),
        (409, "reservation_released")
    );
    assert_eq!(reserved(&cluster, "P00003"), 0);
}

#[tokio::test]
async fn reads_are_cached_until_a_reservation_through_this_service_changes_them() {
    let cluster = Cluster::start();
    let service = start(&cluster, &json!({"cache": {"ttl_ms": 600_000}}))
        .ready()
        .await;
    let client = &service.client;
    set_stock(&cluster, "P00008", 10);
    let read = async || {
        let answer = client.get("/stock/P00008").await;
        (
            answer.json()["available"].as_i64().unwrap(),
            answer.headers["x-cache"].to_str().unwrap().to_owned(),
        )
    };
    assert_eq!(read().await, (10, "miss".to_owned()));
    set_stock(&cluster, "P00008", 50);
    assert_eq!(
        read().await,
        (10, "hit".to_owned()),
        "a change behind the service's back shows after the time to live"
    );
    client
        .post("/reservations", &reservation("k", &[("P00008", 5)]))
        .await;
    assert_eq!(read().await, (45, "miss".to_owned()));
    client
        .send(Method::DELETE, "/reservations/k", &[], "")
        .await;
    assert_eq!(read().await, (50, "miss".to_owned()));
    assert_eq!(
        client
            .metric("observastack_inventory_cache_requests_total{result=\"hit\"}")
            .await,
        1.0
    );
    assert_eq!(
        client
            .metric("observastack_inventory_cache_requests_total{result=\"miss\"}")
            .await,
        3.0
    );
    let missing = client.get("/stock/P99999").await;
    assert_eq!(
        (missing.status.as_u16(), missing.error_code().as_str()),
        (404, "not_found")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_answers_503_within_the_acquire_timeout() {
    let cluster = Cluster::start();
    let site = json!({
        "database": {"pool_size": 1, "acquire_timeout_ms": 200, "statement_timeout_ms": 3_000},
        "cache": {"enabled": false},
    });
    let service = start(&cluster, &site).ready().await;
    let lock = hold_lock(&cluster, "P00001");
    let blocked = tokio::spawn({
        let client = service.client.clone();
        async move {
            client
                .post("/reservations", &reservation("blocked", &[("P00001", 1)]))
                .await
        }
    });
    eventually("the reservation waits for the lock", async || {
        (waiting_for_locks(&cluster) == 1).then_some(())
    })
    .await;

    let started = Instant::now();
    let refused = service.client.get("/stock/P00002").await;
    let took = started.elapsed();
    assert_eq!(
        (refused.status.as_u16(), refused.error_code().as_str()),
        (503, "database_pool_exhausted")
    );
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(
        took >= Duration::from_millis(200) && took < Duration::from_millis(1_500),
        "{took:?}"
    );
    assert_eq!(
        service
            .client
            .metric("db_client_connection_timeouts_total")
            .await,
        1.0
    );
    assert_eq!(
        service
            .client
            .metric("db_client_connection_count{db_client_connection_state=\"used\"}")
            .await,
        1.0
    );
    assert_eq!(
        service.client.get("/healthz").await.status,
        200,
        "a busy pool is no reason to take the service away"
    );

    drop(lock);
    assert_eq!(blocked.await.unwrap().status, 201);
    assert_eq!(service.client.get("/stock/P00002").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_504_and_leaves_nothing_behind() {
    let cluster = Cluster::start();
    let service = start(
        &cluster,
        &json!({"database": {"statement_timeout_ms": 100}}),
    )
    .ready()
    .await;
    let lock = hold_lock(&cluster, "P00001");
    let answer = service
        .client
        .post("/reservations", &reservation("slow", &[("P00001", 1)]))
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (504, "database_timeout")
    );
    drop(lock);
    assert_eq!(cluster.number("SELECT count(*) FROM stock.reservations"), 0);
    assert_eq!(
        service
            .client
            .post("/reservations", &reservation("slow", &[("P00001", 1)]))
            .await
            .status,
        201
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_pool_size_is_in_force_at_once_for_growing_and_shrinking() {
    let cluster = Cluster::start();
    let site = json!({"database": {"acquire_timeout_ms": 100, "statement_timeout_ms": 20_000}, "cache": {"enabled": false}});
    let service = start(&cluster, &site).ready().await;
    for size in [2_usize, 5, 1, 3] {
        let changed = service.patch_config(&json!({"database": {"pool_size": size}}));
        assert_eq!(changed["config"]["database"]["pool_size"], size);
        let lock = hold_lock(&cluster, "P00001");
        let blocked: Vec<_> = (0..size)
            .map(|n| {
                let client = service.client.clone();
                let body = reservation(&format!("size-{size}-{n}"), &[("P00001", 1)]);
                tokio::spawn(
                    async move { client.post("/reservations", &body).await.status.as_u16() },
                )
            })
            .collect();
        eventually("all connections wait for the lock", async || {
            (waiting_for_locks(&cluster) == i64::try_from(size).unwrap()).then_some(())
        })
        .await;
        assert_eq!(
            service.client.get("/stock/P00002").await.status,
            503,
            "a pool of {size} has no more connections"
        );
        assert_eq!(
            service.client.metric("db_client_connection_max").await,
            size as f64
        );
        drop(lock);
        for task in blocked {
            assert_eq!(task.await.unwrap(), 201);
        }
        assert_eq!(service.client.get("/stock/P00002").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_before_its_database_and_comes_back_after_losing_it() {
    let mut cluster = Cluster::start();
    cluster.stop_server();
    let service = start(&cluster, &json!({}));
    let health = service.client.get("/healthz").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["reasons"][0]["check"], "database");
    assert_eq!(
        service.client.get("/livez").await.status,
        200,
        "not ready is not dead"
    );
    let started = Instant::now();
    let answer = service.client.get("/stock/P00001").await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (503, "database_unreachable")
    );
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );

    // The service answers before it has told the manager anything.
    let mut notices = Vec::new();
    eventually("the manager is told why it is not ready", async || {
        notices.extend(service.notices());
        let tells = |start: &str| notices.iter().any(|line| line.starts_with(start));
        (tells("EXTEND_TIMEOUT_USEC=") && tells("STATUS=starting, database: ")).then_some(())
    })
    .await;
    assert!(
        !notices.iter().any(|line| line.starts_with("READY=")),
        "{notices:?}"
    );

    cluster.start_server();
    let service = service.ready().await;
    assert_eq!(service.client.get("/stock/P00001").await.status, 200);
    eventually("the manager is told", async || {
        service
            .notices()
            .contains(&"READY=1".to_owned())
            .then_some(())
    })
    .await;

    cluster.stop_server();
    eventually("the loss is seen", async || {
        (service.client.get("/healthz").await.status == 503).then_some(())
    })
    .await;
    cluster.start_server();
    let service = service.ready().await;
    assert_eq!(service.client.get("/stock/P00002").await.status, 200);
}

#[tokio::test]
async fn a_stop_while_waiting_for_the_database_is_a_clean_end() {
    let mut cluster = Cluster::start();
    cluster.stop_server();
    let mut service = start(&cluster, &json!({}));
    assert_eq!(service.client.get("/healthz").await.status, 503);
    service.terminate();
    assert_eq!(service.wait().code(), Some(0));
    assert!(!service.notices().contains(&"READY=1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_start_together_migrate_once() {
    let cluster = Cluster::start();
    let services: Vec<Service> = (0..4).map(|_| start(&cluster, &json!({}))).collect();
    for service in services {
        let service = service.ready().await;
        assert_eq!(service.client.get("/stock/P00001").await.status, 200);
    }
    assert_eq!(
        cluster.number("SELECT count(*) FROM stock.schema_history"),
        2
    );
    assert_eq!(cluster.number("SELECT count(*) FROM stock.items"), 2_000);
}

/// A session that holds the row's lock until dropped.
fn hold_lock(cluster: &Cluster, sku: &str) -> LockHolder {
    cluster.hold(&format!(
        "SELECT 1 FROM stock.items WHERE sku = '{sku}' FOR UPDATE"
    ))
}

fn waiting_for_locks(cluster: &Cluster) -> i64 {
    cluster.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'inventory'")
}
