//! One process beside others: traces, the stop, two that start together.

use super::*;

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
