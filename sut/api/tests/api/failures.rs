//! What an API server does when something behind it fails: nothing stays reserved, and nobody waits for long.

use super::*;

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
