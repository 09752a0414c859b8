//! Shapes against servers that look at what they are sent.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod server;

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use server::{Request, Server, answer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_observastack-loadgen");

/// Runs a shape at a server; its exit code and report.
fn load(server: &Server, shape: &str, arguments: &[&str]) -> (i32, Value) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("shape.yaml"), shape).unwrap();
    let output = Command::new(PROGRAM)
        .args(["run", "--quiet", "-f", &path("shape.yaml"), &server.url()])
        .args(["--report", &path("report.json")])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(path("report.json")).unwrap_or_else(|_| panic!("{said}"));
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{said}"));
    (output.status.code().unwrap(), report)
}

/// What a server was sent, and when.
type Kept = Mutex<Vec<(Instant, Request)>>;

/// A server that keeps what it is sent, with when.
fn keeping(
    respond: impl Fn(&Request, u64) -> (u16, String) + Send + Sync + 'static,
) -> (Server, Arc<Kept>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let server = Server::looking(move |stream, request, number| {
        keep.lock().unwrap().push((Instant::now(), request.clone()));
        let (status, body) = respond(request, number);
        answer(stream, status, &body)
    });
    (server, kept)
}

fn lines(kept: &Kept) -> Vec<String> {
    let kept = kept.lock().unwrap();
    kept.iter()
        .map(|(_, request)| request.line.clone())
        .collect()
}

#[test]
fn a_journey_goes_on_with_what_it_was_answered() {
    let (server, kept) = keeping(|request, _| match request.line.as_str() {
        "POST /orders" => (201, r#"{"id": "a b/7", "state": "paid"}"#.to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let shape = r#"
arrivals: {stages: ["20 for 500ms"]}
variables: {n: {number: true}}
drill: slow-database
journeys:
  - name: order
    steps:
      - post: /orders
        name: place
        json: {customer: "${n:json}"}
        status: [201]
        check: {json: {/state: paid}}
        extract: {order: {json: /id}, place: {header: location}}
      - {get: "/orders/${order}", pause: 10ms}
      - {get: "${place}"}
"#;
    let (code, report) = load(&server, shape, &[]);
    assert_eq!((code, &report["due"]), (0, &Value::from(30)), "{report}");
    assert_eq!(report["journeys"][0]["completed"], 10, "{report}");
    let requests = kept.lock().unwrap();
    let mut customers: Vec<_> = requests
        .iter()
        .filter(|(_, request)| request.line.starts_with("POST"))
        .map(|(_, request)| request.body.clone())
        .collect();
    customers.sort_by_key(String::len);
    let wanted: Vec<_> = (0..10).map(|n| format!("{{\"customer\":{n}}}")).collect();
    customers.sort();
    assert_eq!(customers, wanted);
    for (line, count) in [("GET /orders/a%20b/7", 10), ("GET /orders/17", 10)] {
        let found = requests.iter().filter(|(_, request)| request.line == line);
        assert_eq!(found.count(), count, "{line}");
    }
    let drill =
        |(_, request): &(_, Request)| request.header("observastack-drill") == Some("slow-database");
    assert!(requests.iter().all(drill));
    let endpoints = report["endpoints"].as_array().unwrap();
    let counts: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            (
                endpoint["name"].as_str().unwrap(),
                endpoint["response"]["count"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        counts,
        [
            ("place", 10),
            ("GET /orders/${order}", 10),
            ("GET ${place}", 10)
        ]
    );
}

#[test]
fn an_answer_that_does_not_say_what_it_should_is_an_error_and_ends_the_journey() {
    let (server, kept) = keeping(|_, number| {
        let state = if number % 2 == 0 { "paid" } else { "lost" };
        (200, format!(r#"{{"state": "{state}"}}"#))
    });
    let shape = r#"
users: {count: 1, for: 300ms, think: 10ms}
journeys:
  - name: a
    steps:
      - {get: /first, check: {json: {/state: paid}}}
      - {get: /second, check: {contains: nothing of the kind}}
"#;
    let (code, report) = load(&server, shape, &["--threshold", "errors<1%"]);
    let lines = lines(&kept);
    assert_eq!(code, 1);
    assert_eq!(report["journeys"][0]["completed"], 0);
    let failed = report["errors"]["check"].as_u64().unwrap();
    assert_eq!(report["journeys"][0]["failed"], failed);
    // The first is paid, its second is not what it should be; then the first is paid again.
    assert_eq!(lines[..3], ["GET /first", "GET /second", "GET /first"]);
}

#[test]
fn the_same_seed_sends_the_same_requests_whatever_the_number_of_threads() {
    let shape = r#"
arrivals: {stages: ["500 for 600ms"], spacing: poisson}
traced: 30%
variables: {sku: {between: [1, 500], prefix: P, digits: 5}, key: {uuid: true}}
journeys:
  - {name: a, weight: 3, steps: [{get: "/a/${sku}/${key}"}]}
  - {name: b, weight: 1, steps: [{post: /b, body: "${key}"}]}
"#;
    let sent = |seed: &str, threads: &str| {
        let (server, kept) = keeping(|_, _| (200, String::new()));
        let (_, report) = load(&server, shape, &["--seed", seed, "--threads", threads]);
        let kept = kept.lock().unwrap();
        let mut requests: Vec<_> = kept
            .iter()
            .map(|(_, request)| {
                let trace = request
                    .header("traceparent")
                    .map(|value| value[..35].to_owned());
                (request.line.clone(), request.body.clone(), trace)
            })
            .collect();
        requests.sort();
        (requests, report["due"].as_u64().unwrap())
    };
    let (one, due) = sent("7", "1");
    assert_eq!(one.len() as u64, due);
    assert_eq!(one, sent("7", "3").0);
    assert_ne!(one, sent("8", "1").0);
    let traced = one.iter().filter(|(_, _, trace)| trace.is_some()).count();
    let share = traced as f64 / one.len() as f64;
    assert!((0.2..0.4).contains(&share), "{share}");
    let of_a = one
        .iter()
        .filter(|(line, ..)| line.starts_with("GET /a/P00"))
        .count();
    let share = of_a as f64 / one.len() as f64;
    assert!((0.65..0.85).contains(&share), "{share}");
}

#[test]
fn a_failed_request_is_sent_again_after_its_wait() {
    // Every third request is answered.
    let (server, kept) = keeping(|_, number| {
        let status = if number % 3 == 2 { 200 } else { 503 };
        (status, String::new())
    });
    let shape = r#"
users: {count: 1, for: 900ms}
journeys:
  - name: a
    retry: {attempts: 3, wait: 50ms, factor: 2}
    steps: [{get: /x}]
"#;
    let (code, report) = load(&server, shape, &[]);
    let begun = report["journeys"][0]["begun"].as_u64().unwrap();
    assert_eq!(
        (code, &report["journeys"][0]["completed"]),
        (0, &Value::from(begun))
    );
    assert_eq!(report["retries"], 2 * begun, "{report}");
    assert_eq!(report["errors"]["status"], 2 * begun);
    let kept = kept.lock().unwrap();
    let waited = |from: usize| kept[from + 1].0 - kept[from].0;
    for (from, ms) in [(0, 50), (1, 100)] {
        let (waited, wait) = (waited(from), Duration::from_millis(ms));
        assert!(
            waited >= wait && waited < wait + Duration::from_millis(200),
            "{waited:?}"
        );
    }
    // What a user waited for has all of it in it.
    let p50 = report["journeys"][0]["times"]["p50_ns"].as_u64().unwrap();
    assert!((150_000_000..600_000_000).contains(&p50), "{p50}");
}

#[test]
fn repetitions_end_and_a_status_that_was_asked_for_is_none() {
    let (server, kept) = keeping(|request, _| {
        (
            if request.line.ends_with("/busy") {
                503
            } else {
                404
            },
            String::new(),
        )
    });
    let shape = r#"
arrivals: {stages: ["10 for 500ms"]}
journeys:
  - {name: storm, retry: {attempts: 2}, steps: [{get: /busy}, {get: /never}]}
  - {name: fine, weight: 0.001, retry: {attempts: 2}, steps: [{get: /none, status: [404]}]}
  - {name: wrong, weight: 0.001, retry: {attempts: 2}, steps: [{get: /none}]}
"#;
    let (_, report) = load(&server, shape, &[]);
    let lines = lines(&kept);
    let busy = lines.iter().filter(|line| *line == "GET /busy").count() as u64;
    assert_eq!(
        report["journeys"][0]["begun"].as_u64().unwrap() * 3,
        busy,
        "{report}"
    );
    assert_eq!(report["journeys"][0]["failed"], busy / 3);
    assert!(!lines.contains(&"GET /never".to_owned()));
}

#[test]
fn connections_are_kept_or_new_as_a_journey_has_it() {
    let (server, kept) = keeping(|_, _| (200, String::new()));
    let shape = r#"
arrivals: {stages: ["100 for 500ms"]}
connections: 3
journeys:
  - {name: kept, steps: [{get: /kept}]}
  - {name: new, keep_alive: false, steps: [{get: /new}]}
"#;
    let (code, report) = load(&server, shape, &[]);
    assert_eq!(
        (code, &report["answered"]),
        (0, &Value::from(50)),
        "{report}"
    );
    let mut by_connection: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (_, request) in kept.lock().unwrap().iter() {
        let close = request.header("connection") == Some("close");
        assert_eq!(close, request.line == "GET /new");
        by_connection
            .entry(request.connection)
            .or_default()
            .push(request.line.clone());
    }
    for lines in by_connection.values() {
        let is_new = lines.contains(&"GET /new".to_owned());
        assert!(!is_new || lines.len() == 1, "{lines:?}");
    }
}

#[test]
fn slow_and_impatient_clients_are_what_they_are_said_to_be() {
    let (server, kept) = keeping(|request, _| {
        if request.line == "GET /gone" {
            thread::sleep(Duration::from_millis(300));
        }
        (200, String::new())
    });
    let shape = r#"
arrivals: {stages: ["10 for 500ms"]}
journeys:
  - {name: slow, steps: [{post: /slow, body: "0123456789", slowly: {bytes: 20, every: 20ms}}]}
  - {name: gone, steps: [{get: /gone, abandon: 100ms}]}
"#;
    let (code, report) = load(&server, shape, &[]);
    let lines = lines(&kept);
    let gone = lines.iter().filter(|line| *line == "GET /gone").count() as u64;
    assert_eq!(
        (code, &report["abandoned"]),
        (0, &Value::from(gone)),
        "{report}"
    );
    assert_eq!(report["answered"], 5 - gone);
    assert_eq!(report["errors"], serde_json::json!({}));
    let slow = &report["endpoints"][0];
    if slow["response"]["count"] != 0 {
        // Some 75 bytes, 20 at a time.
        let p50 = slow["response"]["p50_ns"].as_u64().unwrap();
        assert!((60_000_000..400_000_000).contains(&p50), "{p50}");
    }
    assert!(gone > 0 && gone < 5, "{gone}: another seed is needed");
}

#[test]
fn a_run_leaves_its_time_series_a_page_and_numbers_for_prometheus() {
    let (server, _) = keeping(|_, _| (200, String::new()));
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let address = free.to_string();
    let child = Command::new(PROGRAM)
        .args([
            "run",
            "--quiet",
            &server.url(),
            "--stage",
            "steps 50..150 by 50 for 6s",
            "--seed",
            "3",
        ])
        .args([
            "--csv",
            &path("s.csv"),
            "--html",
            &path("r.html"),
            "--metrics",
            &address,
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let counted = loop {
        let output = Command::new("curl")
            .args([
                "-s",
                "--max-time",
                "2",
                &format!("http://{address}/metrics"),
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let due = text.lines().find_map(|line| {
            let value = line.strip_prefix("observastack_loadgen_due_requests_total{")?;
            value.rsplit(' ').next()?.parse::<u64>().ok()
        });
        match due {
            Some(due) if due > 0 => break due,
            _ if begun.elapsed() > Duration::from_secs(5) => panic!("no metrics: {text}"),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(counted < 600);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let csv = std::fs::read_to_string(path("s.csv")).unwrap();
    let rates: Vec<_> = csv
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(1))
        .collect();
    assert!(
        rates.contains(&"50.000") && rates.contains(&"150.000"),
        "{csv}"
    );
    let page = std::fs::read_to_string(path("r.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg"));
    // And the same again, from the series.
    let output = Command::new(PROGRAM)
        .args([
            "run",
            "--quiet",
            &server.url(),
            "--replay",
            &path("s.csv"),
            "--report",
            &path("again.json"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let again: Value =
        serde_json::from_str(&std::fs::read_to_string(path("again.json")).unwrap()).unwrap();
    let due = again["due"].as_u64().unwrap();
    assert!((580..=620).contains(&due), "{due}");
}

#[test]
fn a_full_disk_costs_the_file_and_nothing_else() {
    let (server, _) = keeping(|_, _| (200, String::new()));
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("s.csv").display().to_string();
    let output = Command::new(PROGRAM)
        .args([
            "run",
            "--quiet",
            &server.url(),
            "--rate",
            "50",
            "--for",
            "300ms",
        ])
        .args(["--report", "/dev/full", "--csv", &csv])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write /dev/full"), "{said}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("response, from due"), "{text}");
    assert!(std::fs::read_to_string(&csv).unwrap().lines().count() >= 2);
}

#[test]
fn a_shape_that_is_wrong_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shape.yaml").display().to_string();
    for (text, words) in [
        ("", "line 1, column 1: the file is empty"),
        ("journeys: [", "line 1, column"),
        (
            "users: {count: 1, for: 1s}\njourneys:\n  - name: a\n    steps: [{get: \"/${x}\"}]\n",
            "line 4, column 19",
        ),
        (
            "users: {count: 1, for: 1s}\njourneys: []\n",
            "line 2, column 11: there is no journey",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = Command::new(PROGRAM)
            .args(["run", "-f", &path])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(words) && said.contains("shape.yaml"),
            "{said}"
        );
    }
}
