//! The worker's own process, with a real PostgreSQL. The API's migrations make the tables.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../inventory/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Cluster, Service, eventually};

/// In the order of their versions.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../api/migrations/V1__shop.sql"),
    include_str!("../../api/migrations/V2__seed.sql"),
    include_str!("../../api/migrations/V3__confirmations.sql"),
];

/// A database as the API leaves it, and a place for messages.
struct Shop {
    cluster: Cluster,
    directory: tempfile::TempDir,
}

impl Shop {
    fn start() -> Shop {
        let shop = Shop {
            cluster: Cluster::start(),
            directory: tempfile::tempdir().unwrap(),
        };
        shop.migrate(&MIGRATIONS);
        shop
    }

    fn migrate(&self, migrations: &[&str]) {
        for migration in migrations {
            self.cluster
                .sql("shop", &format!("SET ROLE api; {migration}"));
        }
    }

    fn spool(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn worker(&self, spool: &str, site_config: &Value) -> Service {
        let spool = self.spool(spool);
        Service::start(
            env!("CARGO_BIN_EXE_observastack-worker"),
            &self.cluster,
            &["--spool", spool.to_str().unwrap()],
            site_config,
        )
    }

    /// Places so many orders with a line each, as the API does, beginning with id 20,000 + `from`.
    fn order(&self, from: i64, count: i64) {
        let (first, last) = (20_000 + from, 20_000 + from + count - 1);
        self.cluster.sql(
            "shop",
            &format!(
                "BEGIN; \
                 INSERT INTO shop.orders (id, customer_id, total_cents) SELECT n, 1, 500 FROM generate_series({first}, {last}) AS n; \
                 INSERT INTO shop.order_lines SELECT n, 'P00001', 1, 500 FROM generate_series({first}, {last}) AS n; \
                 INSERT INTO shop.confirmations (order_id) SELECT n FROM generate_series({first}, {last}) AS n; \
                 NOTIFY confirmations; COMMIT"
            ),
        );
    }

    fn number(&self, sql: &str) -> i64 {
        self.cluster.number(sql)
    }

    fn waiting(&self) -> i64 {
        self.number("SELECT count(*) FROM shop.confirmations WHERE sent_at IS NULL")
    }

    async fn drained(&self) {
        eventually("everything is sent", async || {
            (self.waiting() == 0).then_some(())
        })
        .await;
    }
}

fn messages(spool: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(spool)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const SENT: &str = "observastack_confirmations_total{outcome=\"sent\"}";
const FAILED: &str = "observastack_confirmations_total{outcome=\"failed\"}";
const GIVEN_UP: &str = "observastack_confirmations_total{outcome=\"given_up\"}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_drains_and_two_workers_never_send_one_order_twice() {
    let shop = Shop::start();
    let site = json!({"delivery": {"handover_ms": 5}, "spool": {"keep": 50}, "poll_interval_ms": 60_000,
                      "recommendations": {"every_ms": 100}});
    let one = shop.worker("one", &site).ready().await;
    let two = shop.worker("two", &site).ready().await;
    // The interval is too long for this test: it is the notice that wakes them.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for batch in 0..10 {
        shop.order(batch * 20, 20);
    }
    shop.drained().await;
    assert_eq!(
        shop.number("SELECT count(*) FROM shop.confirmations WHERE attempts = 1"),
        200,
        "nothing was claimed twice"
    );
    let sent = one.client.metric(SENT).await + two.client.metric(SENT).await;
    assert_eq!(sent, 200.0);
    let delays = one
        .client
        .metric("observastack_confirmation_delay_seconds_count")
        .await;
    assert_eq!(delays, one.client.metric(SENT).await);
    eventually("the gauges see it", async || {
        let waiting = one
            .client
            .metric("observastack_confirmations_waiting ")
            .await;
        let busy = one
            .client
            .metric("observastack_confirmation_workers_busy ")
            .await;
        (waiting == 0.0 && busy == 0.0).then_some(())
    })
    .await;
    assert_eq!(
        one.client
            .metric("observastack_confirmation_workers ")
            .await,
        8.0
    );

    let kept = messages(&shop.spool("one"));
    assert!(kept.len() <= 50, "{}", kept.len());
    let message = std::fs::read_to_string(shop.spool("one").join(&kept[0])).unwrap();
    let order = kept[0].trim_end_matches(".eml");
    assert!(
        message.contains(&format!("Message-ID: <{order}@shop.example>\r\n")),
        "{message}"
    );
    assert!(message.contains("\r\nTotal: 5.00\r\n"), "{message}");

    eventually("recommendations are there", async || {
        (shop.number("SELECT count(*) FROM shop.recommendations") > 0).then_some(())
    })
    .await;
    assert!(
        one.client
            .metric("observastack_recommendations_runs_total")
            .await
            >= 1.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claimed_row_comes_back_after_its_lease_and_failures_are_retried_and_counted() {
    let shop = Shop::start();
    // In its way is a file: the directory cannot be made.
    std::fs::write(shop.spool("spool"), "in the way").unwrap();
    let site = json!({"poll_interval_ms": 20, "delivery": {"handover_ms": 0, "lease_ms": 60_000},
                      "retries": {"backoff_ms": 200, "max_attempts": 3}});
    let worker = shop.worker("spool", &site).ready().await;
    shop.order(0, 1);
    let begun = Instant::now();
    eventually("it is given up", async || {
        (worker.client.metric(GIVEN_UP).await == 1.0).then_some(())
    })
    .await;
    // Half of 200 ms and half of 400 ms, at the least.
    assert!(
        begun.elapsed() >= Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(worker.client.metric(FAILED).await, 2.0);
    let row = "SELECT count(*) FROM shop.confirmations WHERE attempts = 3 AND due_at = 'infinity' AND last_error LIKE 'cannot keep%'";
    eventually("it stays in the table", async || {
        (shop.number(row) == 1).then_some(())
    })
    .await;

    // What can be kept again is sent again.
    std::fs::remove_file(shop.spool("spool")).unwrap();
    shop.cluster.sql(
        "shop",
        "UPDATE shop.confirmations SET due_at = now(), attempts = 0",
    );
    shop.drained().await;
    assert_eq!(
        shop.number("SELECT count(*) FROM shop.confirmations WHERE last_error IS NULL"),
        1
    );

    // A worker dies with its claims; another one has to wait until they end.
    drop(worker);
    let slow = json!({"workers": 4, "poll_interval_ms": 20, "delivery": {"handover_ms": 3_000, "lease_ms": 100}});
    let dying = shop.worker("spool", &slow).ready().await;
    shop.order(1, 4);
    eventually("all are claimed", async || {
        (shop.number(
            "SELECT count(*) FROM shop.confirmations WHERE sent_at IS NULL AND attempts = 1",
        ) == 4)
            .then_some(())
    })
    .await;
    drop(dying);
    let quick = json!({"poll_interval_ms": 20, "delivery": {"handover_ms": 0}});
    let next = shop.worker("spool", &quick).ready().await;
    assert_eq!(shop.waiting(), 4, "they are claimed still");
    shop.drained().await;
    assert_eq!(
        shop.number("SELECT count(*) FROM shop.confirmations WHERE attempts = 2"),
        4
    );
    assert_eq!(next.client.metric(SENT).await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_waits_for_the_tables_and_a_stop_finishes_what_is_under_way() {
    let shop = Shop {
        cluster: Cluster::start(),
        directory: tempfile::tempdir().unwrap(),
    };
    let site = json!({"workers": 2, "poll_interval_ms": 20, "delivery": {"handover_ms": 1_000}});
    let worker = shop.worker("spool", &site);
    let health = worker.client.get("/healthz").await;
    assert_eq!(health.status, 503, "{}", health.text);
    shop.migrate(&MIGRATIONS);
    let mut worker = worker.ready().await;
    shop.order(0, 5);
    eventually("two are claimed", async || {
        (shop.number("SELECT count(*) FROM shop.confirmations WHERE attempts = 1") == 2)
            .then_some(())
    })
    .await;
    worker.terminate();
    assert_eq!(worker.wait().code(), Some(0));
    assert_eq!(
        shop.number("SELECT count(*) FROM shop.confirmations WHERE sent_at IS NOT NULL"),
        2
    );
    assert_eq!(
        shop.number("SELECT count(*) FROM shop.confirmations WHERE attempts = 0"),
        3,
        "nothing new was claimed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_pause_recommendations_are_computed_all_the_time_until_told_otherwise() {
    let shop = Shop::start();
    let site = json!({"recommendations": {"every_ms": 0, "threads": 1, "max_orders": 1_000}});
    let mut worker = shop.worker("spool", &site).ready().await;
    let runs = async || {
        worker
            .client
            .metric("observastack_recommendations_runs_total")
            .await
    };
    eventually("many runs in two rounds", async || {
        (runs().await > 50.0).then_some(())
    })
    .await;
    eventually("the result is written", async || {
        (shop.number("SELECT count(*) FROM shop.recommendations") > 0).then_some(())
    })
    .await;

    worker.patch_config(&json!({"recommendations": {"enabled": false}}));
    // The round that is under way ends by itself.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let before = runs().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(runs().await, before, "it has stopped");

    worker.patch_config(&json!({"recommendations": {"enabled": true}}));
    eventually("it goes on", async || (runs().await > before).then_some(())).await;
    let stopped = Instant::now();
    worker.terminate();
    assert!(worker.wait().success());
    assert!(
        stopped.elapsed() < Duration::from_secs(10),
        "{:?}",
        stopped.elapsed()
    );
}
