//! What is kept: through a kill, through a stop, and when there is too much.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;

use common::{Collector, attribute, eventually, many, span, traces_of};

fn stored(store: &Path) -> i64 {
    let connection = observastack_collector::store::open(store).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    connection
        .query_row("SELECT count(*) FROM spans", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_accepted_a_second_ago() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    let mut sent = 0;
    let began = std::time::Instant::now();
    while sent < 2_000 {
        assert_eq!(
            collector.traces(&many("api", sent + 1, 100)).await.status,
            200
        );
        sent += 100;
    }
    // The bound is on time, so this is one of the few tests that look at the clock.
    collector
        .until_counted("stored_items_total", "traces", sent)
        .await;
    let last = began.elapsed();
    assert_eq!(
        collector.traces(&many("api", sent + 1, 100)).await.status,
        200
    );
    collector.kill();
    let found = stored(store.path());
    assert!((2_000..=2_100).contains(&found), "{found} after {last:?}");
    let again = Collector::start(store.path(), &[]);
    assert_eq!(again.traces(&many("api", 5_000, 100)).await.status, 200);
    again
        .until_counted("stored_items_total", "traces", 100)
        .await;
    let shown = again.query(&format!("/api/traces/{:032x}", 1)).await;
    assert_eq!(shown.status, 200);
}

#[tokio::test]
async fn a_stop_writes_everything_that_was_accepted() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &[]);
    for number in 0..20 {
        assert_eq!(
            collector
                .traces(&many("api", number * 50 + 1, 50))
                .await
                .status,
            200
        );
    }
    assert!(collector.terminate().await.success());
    assert_eq!(stored(store.path()), 1_000);
}

#[tokio::test]
async fn a_full_store_loses_its_oldest_and_counts_them() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &["--store-mib", "8"]);
    let text = "x".repeat(2_000);
    let mut number = 0_u64;
    // 20 MB of spans for 8 MiB.
    while number < 10_000 {
        let spans = (number..number + 500).map(|number| {
            let mut span = span(u128::from(number) + 1, number + 1, 0, "GET /orders");
            span.attributes.push(attribute("text", &text));
            span
        });
        let request = traces_of("api", spans.collect());
        eventually("the queue has room", async || {
            collector.traces(&request).await.status == 200
        })
        .await;
        number += 500;
    }
    collector
        .until_counted("stored_items_total", "traces", number)
        .await;
    let reader = observastack_collector::store::open_reader(store.path()).unwrap();
    eventually(
        "every span is in the store, or counted as evicted",
        async || {
            let evicted = collector
                .counted("evicted_items_total", "reason=\"size\"")
                .await;
            let kept: i64 = reader
                .query_row("SELECT count(*) FROM spans", [], |row| row.get(0))
                .unwrap();
            evicted > 4_000 && evicted + kept as u64 == number
        },
    )
    .await;
    eventually("the store is within its bound", async || {
        collector.counted("store_bytes", "").await <= 8 << 20
    })
    .await;
    assert_eq!(
        collector
            .query(&format!("/api/traces/{:032x}", 1))
            .await
            .status,
        404
    );
    assert_eq!(
        collector
            .query(&format!("/api/traces/{number:032x}"))
            .await
            .status,
        200
    );
    assert!(collector.terminate().await.success());
    stored(store.path());
    let on_disk = std::fs::metadata(store.path().join("store.db"))
        .unwrap()
        .len();
    assert!(on_disk < 10 << 20, "{on_disk}");
}

#[tokio::test]
async fn what_is_too_old_goes() {
    let store = tempfile::tempdir().unwrap();
    let collector = Collector::start(store.path(), &["--store-age", "1s"]);
    assert_eq!(collector.traces(&many("api", 1, 100)).await.status, 200);
    collector
        .until_counted("evicted_items_total", "reason=\"age\"", 100)
        .await;
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let store = tempfile::tempdir().unwrap();
    let connection = observastack_collector::store::open(store.path()).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = observastack_collector::store::open(store.path()).unwrap_err();
    assert!(error.to_string().contains("has schema 99"), "{error}");
}
