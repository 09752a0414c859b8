//! The sales report.

use super::*;

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
