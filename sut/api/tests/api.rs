//! The API server's own process, with a real PostgreSQL and a real inventory service.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../inventory/tests/support/mod.rs"]
mod support;

mod inventory_server;

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use inventory_server::{InventoryServer, ListeningInventory};
use serde_json::{Value, json};
use support::{Answer, Cluster, HttpClient, Service, eventually};

/// Everything that an order needs.
struct Lab {
    api: Service,
    inventory: InventoryServer,
    cluster: Cluster,
}

impl Lab {
    async fn start(site_config: Value) -> Lab {
        let cluster = Cluster::start();
        let inventory = InventoryServer::start(&cluster, 0).await;
        let api = start(&cluster, &inventory.address(), site_config)
            .ready()
            .await;
        Lab {
            api,
            inventory,
            cluster,
        }
    }

    fn client(&self) -> &HttpClient {
        &self.api.client
    }

    async fn order(&self, sku: &str, quantity: i32) -> Answer {
        self.client()
            .post("/orders", &order(&[(sku, quantity)]))
            .await
    }

    fn reserved(&self, sku: &str) -> i64 {
        self.cluster.number(&format!(
            "SELECT reserved FROM stock.items WHERE sku = '{sku}'"
        ))
    }

    fn new_orders(&self) -> i64 {
        self.cluster
            .number("SELECT count(*) FROM shop.orders WHERE id > 10000")
    }

    fn waiting_confirmations(&self) -> i64 {
        self.cluster
            .number("SELECT count(*) FROM shop.confirmations WHERE sent_at IS NULL")
    }

    async fn compensated(&self, outcome: &str) -> f64 {
        let series = format!("observastack_api_compensations_total{{outcome=\"{outcome}\"}}");
        self.client().metric(&series).await
    }
}

fn start(cluster: &Cluster, inventory: &str, mut site_config: Value) -> Service {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/report.html");
    if site_config.pointer("/report/template_path").is_none() {
        site_config["report"]["template_path"] = template.into();
    }
    let inventory = format!("http://{inventory}");
    Service::start(
        env!("CARGO_BIN_EXE_observastack-api"),
        cluster,
        &["--inventory", &inventory],
        &site_config,
    )
}

fn order(lines: &[(&str, i32)]) -> Value {
    let lines: Vec<Value> = lines
        .iter()
        .map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}))
        .collect();
    json!({"customer_id": 1, "lines": lines})
}

async fn with_key(client: &HttpClient, key: &str, body: &Value) -> Answer {
    client
        .send(
            Method::POST,
            "/orders",
            &[("idempotency-key", key)],
            &body.to_string(),
        )
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_reserves_stock_and_can_be_read() {
    let lab = Lab::start(json!({})).await;
    let placed = lab
        .client()
        .post("/orders", &order(&[("P00020", 1), ("P00010", 2)]))
        .await;
    assert_eq!(placed.status, StatusCode::CREATED, "{}", placed.text);
    let id = placed.json()["id"].as_i64().unwrap();
    assert_eq!(placed.headers["location"], format!("/orders/{id}"));
    assert_eq!((lab.reserved("P00010"), lab.reserved("P00020")), (2, 1));

    let read = lab.client().get(&format!("/orders/{id}")).await;
    assert_eq!((read.status, read.json()), (StatusCode::OK, placed.json()));
    assert_eq!(read.json()["confirmed_at"], Value::Null);
    assert_eq!(lab.waiting_confirmations(), 1);
    eventually("it is announced", async || {
        let series = "db_client_operation_duration_seconds_count{db_query_summary=\"announce_confirmation\",error_type=\"\"}";
        (lab.client().metric(series).await == 1.0).then_some(())
    })
    .await;
    lab.cluster.sql(
        "shop",
        "UPDATE shop.confirmations SET sent_at = '2026-01-02 03:04:05.5+00'",
    );
    let confirmed = lab.client().get(&format!("/orders/{id}")).await.json();
    assert_eq!(confirmed["confirmed_at"], "2026-01-02T03:04:05.500000Z");
    let price = |sku: &str| {
        lab.cluster.number(&format!(
            "SELECT price_cents FROM shop.products WHERE sku = '{sku}'"
        ))
    };
    assert_eq!(
        read.json()["total_cents"],
        2 * price("P00010") + price("P00020")
    );
    let listed = lab.client().get("/orders?customer=1&limit=1").await.json();
    assert_eq!(listed["items"][0]["id"], id, "the newest comes first");
    assert_eq!(listed["next"], id, "there are seeded ones behind it");

    let product = lab.client().get("/products/P00010").await.json();
    assert_eq!(product["price_cents"], price("P00010"));
    let on_hand = lab
        .cluster
        .number("SELECT on_hand FROM stock.items WHERE sku = 'P00010'");
    assert_eq!(product["available"], on_hand - 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_orders_say_why_and_reserve_nothing() {
    let lab = Lab::start(json!({"limits": {"max_body_bytes": 1_024}})).await;
    lab.cluster.sql(
        "shop",
        "UPDATE stock.items SET on_hand = 3 WHERE sku = 'P00010'",
    );
    let long = "x".repeat(2_000);
    let cases = [
        (
            order(&[("P00009", 1), ("P00010", 4)]).to_string(),
            409,
            "insufficient_stock",
        ),
        (
            order(&[("P00009", 1), ("P99999", 1)]).to_string(),
            422,
            "unknown_sku",
        ),
        (
            json!({"customer_id": 99_999, "lines": [{"sku": "P00009", "quantity": 1}]}).to_string(),
            422,
            "unknown_customer",
        ),
        (order(&[("P00009", 0)]).to_string(), 422, "invalid_request"),
        (
            json!({"customer_id": 1}).to_string(),
            422,
            "invalid_request",
        ),
        ("{\"customer_id\":".to_owned(), 400, "bad_request"),
        (order(&[(&long, 1)]).to_string(), 413, "body_too_large"),
    ];
    for (body, status, code) in cases {
        let answer = lab.client().send(Method::POST, "/orders", &[], &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error_code().as_str()),
            (status, code),
            "{}",
            answer.text
        );
    }
    let short = lab.order("P00010", 4).await.json();
    assert_eq!(short["error"]["sku"], "P00010");
    assert_eq!(
        (
            short["error"]["requested"].as_i64(),
            short["error"]["available"].as_i64()
        ),
        (Some(4), Some(3))
    );
    assert_eq!(
        lab.cluster
            .number("SELECT count(*) FROM stock.reservations"),
        0
    );
    assert_eq!(lab.new_orders(), 0);
    assert_eq!(lab.client().get("/orders/77777").await.status, 404);
    assert_eq!(lab.client().get("/orders/x").await.status, 404);
    assert_eq!(lab.client().get("/nope").await.error_code(), "not_found");
    let method = lab.client().send(Method::PUT, "/orders", &[], "").await;
    assert_eq!(
        (method.status.as_u16(), method.error_code().as_str()),
        (405, "method_not_allowed")
    );
    assert_eq!(lab.client().get("/orders?customer=x").await.status, 422);
    assert_eq!(lab.client().get("/products?limit=101").await.status, 422);
    assert_eq!(lab.client().get("/products/P99999").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_insert_gives_the_reservation_back() {
    let lab = Lab::start(json!({})).await;
    lab.cluster.sql(
        "shop",
        "ALTER TABLE shop.order_lines ADD CONSTRAINT broken CHECK (sku <> 'P00010') NOT VALID",
    );
    let answer = lab
        .client()
        .post("/orders", &order(&[("P00009", 1), ("P00010", 2)]))
        .await;
    assert_eq!(
        answer.status,
        StatusCode::INTERNAL_SERVER_ERROR,
        "{}",
        answer.text
    );
    eventually("the stock is given back", async || {
        (lab.reserved("P00009") == 0 && lab.reserved("P00010") == 0).then_some(())
    })
    .await;
    assert_eq!(
        lab.cluster
            .number("SELECT count(*) FROM stock.reservations WHERE state = 'released'"),
        1
    );
    assert_eq!((lab.new_orders(), lab.waiting_confirmations()), (0, 0));
    eventually("it is counted", async || {
        (lab.compensated("released").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(
        lab.order("P00009", 1).await.status,
        StatusCode::CREATED,
        "the service goes on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_lost_between_reservation_and_insert_gives_the_reservation_back() {
    let mut lab =
        Lab::start(json!({"database": {"pool_size": 2, "statement_timeout_ms": 500}})).await;
    // The insert waits for this lock longer than a statement may.
    let lock = lab
        .cluster
        .hold("LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE");
    let answer = lab.order("P00010", 2).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (504, "database_timeout")
    );
    eventually("the stock is given back", async || {
        (lab.reserved("P00010") == 0).then_some(())
    })
    .await;
    drop(lock);
    assert_eq!(lab.new_orders(), 0);

    // The whole server goes away and comes back: reservations and orders agree again.
    lab.cluster.stop_server();
    let refused = lab.order("P00010", 1).await;
    assert_eq!(
        (refused.status.as_u16(), refused.error_code().as_str()),
        (503, "database_unreachable")
    );
    lab.cluster.start_server();
    eventually("orders are placed again", async || {
        (lab.order("P00010", 1).await.status == StatusCode::CREATED).then_some(())
    })
    .await;
    assert_eq!(lab.reserved("P00010"), lab.new_orders());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_that_may_have_happened_behind_a_timeout_is_given_back() {
    let lab = Lab::start(json!({"inventory": {"request_timeout_ms": 300, "retries": 0}})).await;
    let lock = lab
        .cluster
        .hold("SELECT 1 FROM stock.items WHERE sku = 'P00010' FOR UPDATE");
    let started = Instant::now();
    let answer = lab.order("P00010", 2).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (504, "inventory_timeout")
    );
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    drop(lock);
    // Now the inventory finishes what it was told, and is told to give it back.
    eventually("the reservation is released", async || {
        (lab.compensated("released").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(lab.reserved("P00010"), 0);
    assert_eq!(lab.new_orders(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_through_although_its_client_goes_away() {
    let lab = Lab::start(json!({"inventory": {"request_timeout_ms": 20_000}})).await;
    let lock = lab
        .cluster
        .hold("SELECT 1 FROM stock.items WHERE sku = 'P00010' FOR UPDATE");
    let client = lab.client().clone();
    let request =
        tokio::spawn(async move { client.post("/orders", &order(&[("P00010", 2)])).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'inventory'";
    eventually("the reservation waits", async || {
        (lab.cluster.number(waiting) == 1).then_some(())
    })
    .await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    drop(lock);
    eventually("the order is there", async || {
        (lab.new_orders() == 1).then_some(())
    })
    .await;
    assert_eq!(lab.reserved("P00010"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_orders_once_however_often_and_concurrently_it_comes() {
    let lab = Lab::start(json!({})).await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let client = lab.client().clone();
            tokio::spawn(async move {
                with_key(&client, "key-1", &order(&[("P00010", 2), ("P00011", 1)])).await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.status == StatusCode::CREATED)
            .count(),
        1
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.status.is_success() && answer.json() == answers[0].json()),
        "{answers:?}"
    );
    assert_eq!(lab.new_orders(), 1);
    eventually("what the losers reserved is given back", async || {
        (lab.reserved("P00010") == 2 && lab.reserved("P00011") == 1).then_some(())
    })
    .await;

    // The same order with its lines in another order is the same; another one is not.
    let again = with_key(
        lab.client(),
        "key-1",
        &order(&[("P00011", 1), ("P00010", 2)]),
    )
    .await;
    assert_eq!(
        (again.status, again.json()),
        (StatusCode::OK, answers[0].json())
    );
    let other = with_key(lab.client(), "key-1", &order(&[("P00010", 3)])).await;
    assert_eq!(
        (other.status.as_u16(), other.error_code().as_str()),
        (422, "idempotency_key_reused")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_inventory_orders_are_503_at_once_and_products_lack_their_stock() {
    let mut lab = Lab::start(json!({})).await;
    lab.inventory.stop().await;
    let started = Instant::now();
    let answer = lab.order("P00010", 1).await;
    assert_eq!(
        (answer.status.as_u16(), answer.error_code().as_str()),
        (503, "inventory_unreachable")
    );
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        lab.client()
            .metric("observastack_api_inventory_retries_total{error_type=\"connect\"}")
            .await,
        1.0
    );
    assert_eq!(lab.new_orders(), 0);

    let product = lab.client().get("/products/P00010").await;
    assert_eq!(
        (product.status, product.json()["available"].clone()),
        (StatusCode::OK, Value::Null)
    );
    assert_eq!(
        lab.client()
            .metric("observastack_api_stock_unknown_total")
            .await,
        1.0
    );

    lab.inventory = InventoryServer::start(&lab.cluster, lab.inventory.port()).await;
    assert_eq!(lab.order("P00010", 1).await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_answers_503_within_the_acquire_timeout() {
    let site = json!({"database": {"pool_size": 2, "acquire_timeout_ms": 200, "statement_timeout_ms": 10_000}});
    let lab = Lab::start(site).await;
    let lock = lab
        .cluster
        .hold("LOCK TABLE shop.products IN ACCESS EXCLUSIVE MODE");
    let blocked: Vec<_> = (0..2)
        .map(|_| {
            let client = lab.client().clone();
            tokio::spawn(async move { client.get("/products").await.status.as_u16() })
        })
        .collect();
    eventually("both connections are in use", async || {
        let used = lab
            .client()
            .metric("db_client_connection_count{db_client_connection_state=\"used\"}")
            .await;
        (used == 2.0).then_some(())
    })
    .await;
    let started = Instant::now();
    let refused = lab.client().get("/orders/1").await;
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

    // More connections, without a restart, and the request goes through.
    lab.api.patch_config(&json!({"database": {"pool_size": 3}}));
    assert_eq!(lab.client().get("/orders/1").await.status, 200);
    drop(lock);
    for task in blocked {
        assert_eq!(
            task.await.unwrap(),
            200,
            "what was under way at the change is finished"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_lead_through_all_products_and_all_orders_of_a_customer() {
    let lab = Lab::start(json!({})).await;
    let walk = async |path: &str, key: &str| {
        let (mut met, mut after) = (Vec::new(), String::new());
        loop {
            let page = lab
                .client()
                .get(&format!("{path}&limit=100{after}"))
                .await
                .json();
            met.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item[key].clone()),
            );
            match &page["next"] {
                Value::Null => return met,
                Value::String(next) => after = format!("&after={next}"),
                next => after = format!("&after={next}"),
            }
        }
    };
    let all = walk("/products?", "sku").await;
    let expected: Vec<Value> = (1..=2_000).map(|n| format!("P{n:05}").into()).collect();
    assert_eq!(all, expected);
    let toys = walk("/products?category=toys", "sku").await;
    assert_eq!(toys.len(), 250);
    assert!(toys.iter().all(|sku| all.contains(sku)));

    lab.cluster.sql(
        "shop",
        "UPDATE shop.orders SET customer_id = 7 WHERE id <= 250",
    );
    let orders: Vec<i64> = walk("/orders?customer=7", "id")
        .await
        .iter()
        .map(|id| id.as_i64().unwrap())
        .collect();
    assert_eq!(
        orders.len() as i64,
        lab.cluster
            .number("SELECT count(*) FROM shop.orders WHERE customer_id = 7")
    );
    assert!(orders.is_sorted_by(|a, b| a > b));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_report_algorithms_agree_on_the_seeded_orders() {
    let lab = Lab::start(json!({})).await;
    let report = async |algorithm: &str| {
        let answer = lab
            .client()
            .get(&format!("/report/sales?format=json&algorithm={algorithm}"))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    };
    let good = report("good").await;
    assert_eq!(good, report("bad").await);
    assert_eq!(
        (good["orders"].as_i64(), good["lines"].as_i64()),
        (Some(10_000), Some(25_000))
    );
    assert_eq!(
        good["revenue_cents"],
        lab.cluster
            .number("SELECT sum(total_cents) FROM shop.orders")
    );
    let median = "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY total_cents) FROM shop.orders";
    assert_eq!(good["order_value"]["p50_cents"], lab.cluster.number(median));
    let best_pair = "SELECT count(*) FROM shop.order_lines a JOIN shop.order_lines b ON a.order_id = b.order_id \
                     AND a.sku < b.sku GROUP BY a.sku, b.sku ORDER BY 1 DESC LIMIT 1";
    assert_eq!(good["pairs"][0]["orders"], lab.cluster.number(best_pair));

    let page = lab.client().get("/report/sales").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text.contains("good algorithm"), "{}", page.text);
    lab.api
        .patch_config(&json!({"report": {"algorithm": "bad"}}));
    assert!(
        lab.client()
            .get("/report/sales")
            .await
            .text
            .contains("bad algorithm")
    );
    assert_eq!(
        lab.client()
            .get("/report/sales?algorithm=ugly")
            .await
            .status,
        422
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_broken_template_is_500_until_it_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let template = directory.path().join("report.html");
    let lab = Lab::start(json!({"report": {"template_path": template, "max_orders": 100}})).await;
    let code = async || lab.client().get("/report/sales").await.error_code();
    assert_eq!(code().await, "report_template");
    std::fs::write(&template, "{{nope}}").unwrap();
    assert_eq!(code().await, "report_template");
    std::fs::write(&template, "orders: {{orders}}").unwrap();
    let answer = lab.client().get("/report/sales").await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (StatusCode::OK, "orders: 100")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_limited_in_number_and_time() {
    let site = json!({"report": {"concurrency": 1, "queue_timeout_ms": 100}});
    let lab = Lab::start(site).await;
    let lock = lab
        .cluster
        .hold("LOCK TABLE shop.order_lines IN ACCESS EXCLUSIVE MODE");
    let client = lab.client().clone();
    let first = tokio::spawn(async move { client.get("/report/sales").await.status.as_u16() });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'api'";
    eventually("the first report reads", async || {
        (lab.cluster.number(waiting) == 1).then_some(())
    })
    .await;
    let busy = lab.client().get("/report/sales").await;
    assert_eq!(
        (busy.status.as_u16(), busy.error_code().as_str()),
        (503, "report_busy")
    );
    assert_eq!(
        lab.client().get("/products?limit=1").await.status,
        200,
        "other requests go on"
    );
    drop(lock);
    assert_eq!(first.await.unwrap(), 200);

    lab.api.patch_config(&json!({"report": {"timeout_ms": 10}}));
    let late = lab.client().get("/report/sales?algorithm=bad").await;
    assert_eq!(
        (late.status.as_u16(), late.error_code().as_str()),
        (504, "report_timeout")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_is_called_within_the_clients_trace() {
    let cluster = Cluster::start();
    let inventory = ListeningInventory::start();
    let api = start(&cluster, &inventory.address(), json!({}))
        .ready()
        .await;
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace_id}-b7ad6b7169203331-01");
    let headers = [
        ("traceparent", parent.as_str()),
        ("tracestate", "vendor=1"),
        ("x-request-id", "request-1"),
    ];
    let answer = api
        .client
        .send(
            Method::POST,
            "/orders",
            &headers,
            &order(&[("P00010", 1)]).to_string(),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let seen = inventory.last_headers();
    assert_eq!(seen["x-request-id"], "request-1");
    assert_eq!(seen["tracestate"], "vendor=1");
    let child = seen["traceparent"].to_str().unwrap();
    assert!(
        child.starts_with(&format!("00-{trace_id}-")) && child.ends_with("-01"),
        "{child}"
    );
    assert!(
        !child.contains("b7ad6b7169203331"),
        "a span of its own: {child}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_the_order_under_way() {
    let mut lab = Lab::start(json!({"inventory": {"request_timeout_ms": 20_000}})).await;
    let lock = lab
        .cluster
        .hold("SELECT 1 FROM stock.items WHERE sku = 'P00010' FOR UPDATE");
    let client = lab.client().clone();
    let request =
        tokio::spawn(async move { client.post("/orders", &order(&[("P00010", 2)])).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'inventory'";
    eventually("the reservation waits", async || {
        (lab.cluster.number(waiting) == 1).then_some(())
    })
    .await;
    lab.api.terminate();
    eventually("the port is closed", async || {
        lab.client()
            .try_send(Method::GET, "/livez", &[], "")
            .await
            .err()
    })
    .await;
    drop(lock);
    assert_eq!(request.await.unwrap().status, StatusCode::CREATED);
    assert!(lab.api.wait().success());
    assert_eq!(lab.new_orders(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_that_start_together_on_an_empty_database_both_serve() {
    let cluster = Cluster::start();
    let inventory = InventoryServer::start(&cluster, 0).await;
    let first = start(&cluster, &inventory.address(), json!({}));
    let second = start(&cluster, &inventory.address(), json!({}));
    for api in [first.ready().await, second.ready().await] {
        assert_eq!(
            api.client
                .post("/orders", &order(&[("P00010", 1)]))
                .await
                .status,
            StatusCode::CREATED
        );
    }
    assert_eq!(
        cluster.number("SELECT count(*) FROM shop.schema_history"),
        3
    );
}
