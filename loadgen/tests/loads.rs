//! The program against servers whose behaviour is known.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod server;

use std::{
    io::Write,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use server::{Answer, Server, ok};

const PROGRAM: &str = env!("CARGO_BIN_EXE_observastack-loadgen");

fn spawn(arguments: &[&str]) -> Child {
    Command::new(PROGRAM)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(arguments: &[&str]) -> Output {
    spawn(arguments).wait_with_output().unwrap()
}

/// Runs a load; its exit code and report.
fn load(url: &str, arguments: &[&str]) -> (i32, Value) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let file = path.display().to_string();
    let all = [&["run", url, "--report", &file, "--quiet"], arguments].concat();
    let output = run(&all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("no report: {said}"));
    let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}: {said}"));
    (output.status.code().unwrap(), report)
}

fn errors(report: &Value, kind: &str) -> u64 {
    report["errors"][kind].as_u64().unwrap_or(0)
}

/// The share of responses that took longer.
fn share_above(report: &Value, limit: Duration) -> f64 {
    let points = report["response"]["points"].as_array().unwrap();
    let below = points
        .iter()
        .filter(|point| u128::from(point[1].as_u64().unwrap()) <= limit.as_nanos())
        .filter_map(|point| point[0].as_f64())
        .fold(0.0, f64::max);
    1.0 - below
}

#[test]
fn an_open_loop_sends_what_is_due_and_counts_what_comes() {
    let server = Server::start(|stream, _| ok(stream));
    for threads in ["1", "3"] {
        let before = server.requests();
        let (code, report) = load(
            &server.url(),
            &[
                "--stage",
                "300 for 500ms",
                "--stage",
                "pause for 200ms",
                "--stage",
                "0..600 for 500ms",
                "--threads",
                threads,
            ],
        );
        assert_eq!(code, 0);
        for what in ["due", "sent", "answered"] {
            assert_eq!(report[what], 300, "{what}: {report}");
        }
        assert_eq!(report["statuses"]["200"], 300);
        assert_eq!(report["body_bytes"], 600);
        assert_eq!(report["response"]["count"], 300);
        assert_eq!(server.requests() - before, 300);
        let elapsed = report["elapsed_s"].as_f64().unwrap();
        assert!((1.19..5.0).contains(&elapsed), "{elapsed}");
    }
}

#[test]
fn a_server_that_stands_still_is_seen_by_all_that_was_due_meanwhile() {
    const STALL: Duration = Duration::from_millis(1_000);
    let stalling = || {
        // Everything that comes from 500 ms after the first request on waits for the stall's end.
        let begun: Mutex<Option<Instant>> = Mutex::new(None);
        Server::start(move |stream, _| {
            let begun = *begun.lock().unwrap().get_or_insert_with(Instant::now);
            let since = begun.elapsed();
            let (from, to) = (
                Duration::from_millis(500),
                Duration::from_millis(500) + STALL,
            );
            if (from..to).contains(&since) {
                thread::sleep(to - since);
            }
            ok(stream)
        })
    };
    let open = stalling();
    let (_, report) = load(&open.url(), &["--rate", "200", "--for", "4s"]);
    assert_eq!(report["answered"], 800, "{report}");
    // A quarter of all was due while it stood still; half of those waited for more than half of it.
    let slow = share_above(&report, STALL / 2);
    assert!((0.10..0.16).contains(&slow), "{slow} of the requests");
    // One of few connections cannot be free: the waiting for it counts as well.
    let few = stalling();
    let (_, report) = load(
        &few.url(),
        &["--rate", "200", "--for", "4s", "--connections", "5"],
    );
    let slow_of_few = share_above(&report, STALL / 2);
    assert!(slow_of_few >= 0.10, "{slow_of_few} of the requests");

    // Users who wait for their answer see it once each.
    let closed = stalling();
    let (_, report) = load(
        &closed.url(),
        &["--users", "5", "--think", "5ms", "--for", "4s"],
    );
    let slow = share_above(&report, STALL / 2);
    assert!(slow < 0.02, "{slow} of {} requests", report["answered"]);
    assert!(report["response"]["max_ns"].as_u64().unwrap() > 900_000_000);
}

#[test]
fn quantiles_are_those_of_the_server() {
    // A tenth of the answers takes 80 ms, the others 20 ms.
    let took = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&took);
    let server = Server::start(move |stream, number| {
        let begun = Instant::now();
        thread::sleep(Duration::from_millis(if number % 10 == 0 {
            80
        } else {
            20
        }));
        told.lock().unwrap().push(begun.elapsed());
        ok(stream)
    });
    let (_, report) = load(&server.url(), &["--rate", "200", "--for", "3s"]);
    let mut true_times = took.lock().unwrap().clone();
    true_times.sort();
    for (share, name) in [(0.5, "p50_ns"), (0.95, "p95_ns")] {
        let known = true_times[(true_times.len() as f64 * share) as usize].as_secs_f64();
        let found = report["response"][name].as_u64().unwrap() as f64 / 1e9;
        // What the kernel and two threads' wake-ups add is not the histogram's fault.
        assert!(
            found > known * 0.99 && found < known * 1.01 + 0.01,
            "{name}: {found} instead of {known}"
        );
    }
}

#[test]
fn a_closed_loop_has_so_many_users_and_no_more() {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (busy, highest) = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |stream, _| {
        highest.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(20));
        busy.fetch_sub(1, Ordering::SeqCst);
        ok(stream)
    });
    let (code, report) = load(
        &server.url(),
        &["--users", "7", "--for", "500ms", "--threads", "2"],
    );
    assert_eq!((code, most.load(Ordering::SeqCst)), (0, 7));
    assert_eq!(report["connections"], 7);
    let answered = report["answered"].as_u64().unwrap();
    // 7 users, 25 rounds at the most.
    assert!((7..=7 * 26).contains(&answered), "{answered}");
}

#[test]
fn errors_are_told_apart() {
    let cases: [(&str, Box<Answer>); 4] = [
        (
            "closed",
            Box::new(|_, _| Err(std::io::Error::other("hang up"))),
        ),
        (
            "protocol",
            Box::new(|stream, _| stream.write_all(b"220 ready\r\n")),
        ),
        (
            "status",
            Box::new(|stream, _| stream.write_all(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")),
        ),
        (
            "timeout",
            Box::new(|stream, _| {
                // An answer without an end.
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                loop {
                    stream.write_all(b"and on ")?;
                    thread::sleep(Duration::from_millis(5));
                }
            }),
        ),
    ];
    for (kind, answer) in cases {
        let server = Server::start(answer);
        let (code, report) = load(
            &server.url(),
            &[
                "--rate",
                "50",
                "--for",
                "400ms",
                "--timeout",
                "300ms",
                "--threshold",
                "errors<1%",
            ],
        );
        assert_eq!(errors(&report, kind), 20, "{kind}: {report}");
        assert_eq!(report["error_share"], 1.0);
        assert_eq!(code, 1, "a condition does not hold");
    }
}

#[test]
fn a_kept_connection_that_is_closed_meanwhile_is_no_error() {
    // It answers, does not say that it will close, and closes.
    let server = Server::start(|stream, _| {
        ok(stream)?;
        Err(std::io::Error::other("closes"))
    });
    let (code, report) = load(
        &server.url(),
        &["--rate", "100", "--for", "1s", "--connections", "2"],
    );
    assert_eq!(
        (code, &report["answered"]),
        (0, &Value::from(100)),
        "{report}"
    );
    assert_eq!(report["errors"], serde_json::json!({}));
    assert_eq!(report["connections"], 100);
}

#[test]
fn new_connections_are_opened_where_that_is_asked_for() {
    let server = Server::start(|stream, _| ok(stream));
    let (_, report) = load(
        &server.url(),
        &["--rate", "100", "--for", "500ms", "--new-connections"],
    );
    assert_eq!(
        (&report["answered"], &report["connections"]),
        (&Value::from(50), &Value::from(50))
    );
}

#[test]
fn conditions_decide_the_exit_code() {
    let server = Server::start(|stream, _| ok(stream));
    let load_with = |threshold| {
        load(
            &server.url(),
            &["--rate", "50", "--for", "400ms", "--threshold", threshold],
        )
    };
    let (code, report) = load_with("p99<5s");
    assert_eq!(
        (code, &report["thresholds"][0]["holds"]),
        (0, &Value::Bool(true))
    );
    let (code, report) = load_with("p99<1us");
    assert_eq!(
        (code, &report["thresholds"][0]["holds"]),
        (1, &Value::Bool(false))
    );
}

#[test]
fn requests_without_a_connection_are_dropped_and_the_run_says_that_it_shows_nothing() {
    // Nothing is ever answered, and the time limit is long: all connections and the whole line are taken.
    let server = Server::start(|_, _| {
        thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let (code, report) = load(
        &server.url(),
        &[
            "--rate",
            "300000",
            "--for",
            "1s",
            "--connections",
            "1",
            "--timeout",
            "2s",
        ],
    );
    assert!(errors(&report, "dropped") > 0, "{report}");
    assert_eq!(report["due"], 300_000);
    assert!(!report["invalid"].as_array().unwrap().is_empty());
    assert_eq!(code, 0);
}

#[test]
fn an_interrupted_run_still_has_its_report() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json").display().to_string();
    for load in [["--rate", "100"], ["--users", "2"]] {
        let server = Server::start(|stream, _| ok(stream));
        let url = server.url();
        let always = ["run", &url, "--for", "1h", "--report", &file];
        let child = spawn(&[&always[..], &load].concat());
        while server.requests() < 20 {
            thread::sleep(Duration::from_millis(5));
        }
        let pid = child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(kill.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let answered = report["answered"].as_u64().unwrap();
        assert!(answered >= 20 && report["due"] == answered, "{report}");
    }
}

#[test]
fn two_reports_are_compared() {
    let server = Server::start(|stream, _| ok(stream));
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    for name in ["a.json", "b.json"] {
        let output = run(&[
            "run",
            &server.url(),
            "--rate",
            "50",
            "--for",
            "200ms",
            "--report",
            &path(name),
        ]);
        assert!(output.status.success(), "{output:?}");
    }
    let output = run(&["diff", &path("a.json"), &path("b.json")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.contains("response p99"),
        "{text}"
    );
    std::fs::write(path("c.json"), "{}").unwrap();
    let output = run(&["diff", &path("a.json"), &path("c.json")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("no report of `run`"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_is_told_with_what_would_be_right() {
    let there = "http://127.0.0.1:1/";
    for (arguments, code, words) in [
        (
            &["run", "ftp://x/", "--rate", "1", "--for", "1s"][..],
            2,
            "http://127.0.0.1:8000",
        ),
        (
            &["run", "https://x/", "--rate", "1", "--for", "1s"],
            2,
            "no TLS",
        ),
        (&["run", there], 2, "--rate and --for"),
        (
            &["run", there, "--rate", "0", "--for", "1s"],
            2,
            "nothing would be sent",
        ),
        (
            &["run", there, "--rate", "-1", "--for", "1s"],
            2,
            "unexpected argument",
        ),
        (
            &["run", there, "--rate", "1e30", "--for", "1s"],
            2,
            "not between 0 and",
        ),
        (&["run", there, "--rate", "5", "--for", "soon"], 2, "soon"),
        (
            &["run", there, "--stage", "5 for ever"],
            2,
            "`ever` is no time",
        ),
        (
            &["run", there, "--users", "0", "--for", "1s"],
            2,
            "0 is not in 1..=100000",
        ),
        (
            &["run", there, "--rate", "5", "--users", "5", "--for", "1s"],
            2,
            "cannot be used with",
        ),
        (
            &[
                "run",
                there,
                "--rate",
                "5",
                "--for",
                "1s",
                "--threshold",
                "p99",
            ],
            2,
            "p99<250ms",
        ),
        (
            &["run", there, "--rate", "5", "--for", "1s", "--header", "x"],
            2,
            "NAME: VALUE",
        ),
        (
            &["run", there, "--rate", "5", "--for", "1s"],
            1,
            "cannot be reached: 127.0.0.1:1",
        ),
        (
            &[
                "run",
                "http://no-such-host.invalid/",
                "--rate",
                "5",
                "--for",
                "1s",
            ],
            1,
            "cannot find the address of no-such-host.invalid",
        ),
        (
            &["diff", "/nonexistent/a", "/nonexistent/b"],
            1,
            "cannot read /nonexistent/a",
        ),
    ] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let server = Server::start(|stream, _| ok(stream));
    let output = run(&[
        "run",
        &server.url(),
        "--rate",
        "5",
        "--for",
        "200ms",
        "--report",
        "/nonexistent/r.json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("cannot write /nonexistent/r.json"),
        "{said}"
    );
    assert_eq!(server.requests(), 0, "it was found before the run");
}
