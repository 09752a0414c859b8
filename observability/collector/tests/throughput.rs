//! How much one core takes, how long questions to a full store take, and how much memory that needs. Not a pass or fail:
//! `cargo test --release -p observastack-collector --test throughput -- --ignored --nocapture`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Collector, attribute, failed, log, logs_of, span, traces_of};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message as _;

const SERVICES: [&str; 4] = ["gateway", "api", "inventory", "loadgen"];
const BATCH: u64 = 512;

/// A span as the shop's services send it: ten attributes, one of them an id, one span in a hundred an error, one in a thousand slow.
fn batch(first: u64) -> Vec<u8> {
    let spans = (first..first + BATCH).map(|number| {
        let mut span = span(
            u128::from(number / 4) + 1,
            number + 1,
            if number % 4 == 0 { 0 } else { number },
            "GET /orders/{id}",
        );
        for key in [
            "http.request.method",
            "url.scheme",
            "server.address",
            "network.protocol.version",
            "user_agent.original",
            "client.address",
        ] {
            span.attributes.push(attribute(key, "something-usual"));
        }
        span.attributes
            .push(attribute("order.id", &format!("o-{number}")));
        if number % 1_000 == 0 {
            span.end_time_unix_nano = span.start_time_unix_nano + 3_000_000_000;
        }
        if number % 100 == 0 {
            failed(span)
        } else {
            span
        }
    });
    let service = SERVICES[(first / BATCH % 4) as usize];
    traces_of(service, spans.collect()).encode_to_vec()
}

fn status(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

async fn cpu_s(collector: &Collector) -> f64 {
    let uri = format!("http://{}/metrics", collector.address("metrics"));
    let text = common::send(hyper::Method::GET, &uri, &[], Vec::new())
        .await
        .body;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("process_cpu_seconds_total"))
        .unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn fill(collector: &Collector, spans: u64) -> (f64, f64) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let uri = format!("http://{}/v1/traces", collector.address("otlp_http"));
    // Made before, so that only the collector is measured.
    let templates: Vec<Bytes> = (0..64).map(|number| batch(number * BATCH).into()).collect();
    let (began, cpu) = (Instant::now(), cpu_s(collector).await);
    let mut sent = 0;
    while sent < spans {
        let body = templates[(sent / BATCH % 64) as usize].clone();
        let request = Request::post(&uri)
            .header("content-type", "application/x-protobuf")
            .body(Full::new(body))
            .unwrap();
        let response = client.request(request).await.unwrap();
        let taken = response.status() == 200;
        response.into_body().collect().await.unwrap();
        if taken {
            sent += BATCH;
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    collector.until_counted("queue_items", "", 0).await;
    (began.elapsed().as_secs_f64(), cpu_s(collector).await - cpu)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn throughput() {
    let store = tempfile::tempdir().unwrap();
    let mib = std::env::var("STORE_MIB").unwrap_or_else(|_| "256".to_owned());
    let collector = Collector::start(store.path(), &["--store-mib", &mib]);
    println!("memory at start: {} MiB", status(collector.pid(), "VmRSS"));
    let rounds: u64 = std::env::var("ROUNDS").map_or(4, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let spans = 250_000;
        let (wall_s, cpu_s) = fill(&collector, spans).await;
        println!(
            "round {round}: {:.0} spans/s, {:.0} spans per CPU second; store {} MiB, evicted {}, memory {} MiB, highest {} MiB",
            spans as f64 / wall_s,
            spans as f64 / cpu_s,
            collector.counted("store_bytes", "").await >> 20,
            collector.counted("evicted_items_total", "").await,
            status(collector.pid(), "VmRSS"),
            status(collector.pid(), "VmHWM"),
        );
    }
    for number in 0..40 {
        let records = (0..250).map(|line| {
            log(
                if line == 7 { 17 } else { 9 },
                &format!("request {number}-{line} to /orders took 3 ms"),
            )
        });
        let request = logs_of(SERVICES[number % 4], records.collect());
        common::eventually("there is room", async || {
            collector.logs(&request).await.status == 200
        })
        .await;
    }
    for query in [
        "/api/traces?service=api",
        "/api/traces?service=api&limit=200",
        "/api/traces?operation=GET+/orders/%7Bid%7D",
        "/api/traces?min_duration=2s",
        "/api/traces?status=error&service=gateway",
        "/api/traces?attribute=order.id%3Do-31000",
        "/api/traces?attribute=order.id%3Do-0x",
        "/api/traces/00000000000000000000000000000400",
        "/api/logs?level=error",
        "/api/logs?text=request+17-20",
        "/api/logs?service=api&text=orders&limit=1000",
        "/api/map",
        "/api/services",
    ] {
        let mut took = Vec::new();
        let mut complete = true;
        for _ in 0..100 {
            let began = Instant::now();
            let answer = collector.query(query).await;
            took.push(began.elapsed());
            assert_eq!(answer.status, 200, "{query}");
            complete &= answer.json()["complete"] != false;
        }
        took.sort();
        println!(
            "{query}: p50 {:.1} ms, p99 {:.1} ms, complete: {complete}",
            took[50].as_secs_f64() * 1e3,
            took[98].as_secs_f64() * 1e3
        );
    }
    println!(
        "memory at the end: {} MiB, highest {} MiB",
        status(collector.pid(), "VmRSS"),
        status(collector.pid(), "VmHWM")
    );
}
