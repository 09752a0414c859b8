//! Orders: placed, refused, repeated, read.

use super::*;

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
