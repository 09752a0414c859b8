//! The service, driven with curl over its socket.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod server;

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use server::{Server, ok};

const PROGRAM: &str = env!("CARGO_BIN_EXE_observastack-loadgen");
const SOON: Duration = Duration::from_secs(20);

struct Service {
    child: Child,
    directory: tempfile::TempDir,
    metrics: String,
}

impl Service {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = free.local_addr().unwrap().to_string();
        drop(free);
        let socket = directory.path().join("s.sock").display().to_string();
        let child = Command::new(PROGRAM)
            .args(["serve", "--socket", &socket, "--metrics", &metrics])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let service = Self {
            child,
            directory,
            metrics,
        };
        wait("it listens", || {
            service.curl(&["-X", "GET"], "/v1/load").0 == 200
        });
        service
    }

    fn socket(&self) -> String {
        self.directory.path().join("s.sock").display().to_string()
    }

    /// The status and the body of an answer.
    fn curl(&self, arguments: &[&str], path: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args(["-s", "--max-time", "30", "--unix-socket", &self.socket()])
            .args(["-w", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("http://loadgen{path}"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), body.to_owned())
    }

    fn begin(&self, shape: &str, server: &Server) -> (u16, String) {
        let path = format!("/v1/load?target={}", server.url());
        self.curl(&["-X", "PUT", "--data-binary", shape], &path)
    }

    fn change(&self, change: &Value) -> (u16, String) {
        self.curl(&["-X", "PATCH", "-d", &change.to_string()], "/v1/load")
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.curl(&[], "/v1/load").1).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{what}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn open(rate: u32) -> String {
    format!(
        "name: test\narrivals: {{stages: [\"{rate} for 1h\"]}}\njourneys:\n  - {{name: a, steps: [{{get: /}}]}}\n"
    )
}

#[test]
fn a_rate_is_changed_paused_and_given_back_while_it_runs() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&times);
    let server = Server::start(move |stream, _| {
        told.lock().unwrap().push(Instant::now());
        ok(stream)
    });
    let service = Service::start();
    assert_eq!(service.status()["phase"], "idle");
    assert_eq!(service.begin(&open(10), &server).0, 201);
    wait("requests come", || server.requests() >= 3);
    assert_eq!(service.begin(&open(10), &server).0, 409);
    assert_eq!(service.status()["rate"], 10.0);

    // 10 a second are 100 ms apart: sooner than that is the change.
    let changed = Instant::now();
    assert_eq!(service.change(&json!({"rate": 500})).0, 204);
    wait("it is faster", || {
        let times = times.lock().unwrap();
        let fast =
            |pair: &&[Instant]| pair[0] >= changed && pair[1] - pair[0] < Duration::from_millis(20);
        times.windows(2).any(|pair| fast(&pair))
    });
    let first = {
        let times = times.lock().unwrap();
        let mut pairs = times.windows(2).filter(|pair| pair[0] >= changed);
        let pair = pairs
            .find(|pair| pair[1] - pair[0] < Duration::from_millis(20))
            .unwrap();
        pair[0]
    };
    // 100 ms, and what two processes on a busy machine need to be told.
    assert!(
        first - changed < Duration::from_millis(250),
        "{:?}",
        first - changed
    );
    let (before, begun) = (server.requests(), Instant::now());
    thread::sleep(Duration::from_secs(1));
    let reached = (server.requests() - before) as f64 / begun.elapsed().as_secs_f64();
    assert!((400.0..600.0).contains(&reached), "{reached}/s");

    assert_eq!(service.change(&json!({"paused": true})).0, 204);
    wait("it is paused", || service.status()["phase"] == "paused");
    // Those that were on their way have come.
    thread::sleep(Duration::from_millis(200));
    let before = server.requests();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.requests(), before);
    assert_eq!(service.status()["rate"], 0.0);

    assert_eq!(
        service.change(&json!({"paused": false, "rate": null})).0,
        204
    );
    wait("it goes on", || server.requests() > before);
    assert_eq!(service.status()["rate"], 10.0);
    let (code, report) = service.curl(&["-X", "DELETE"], "/v1/load");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((code, &report["name"]), (200, &json!("test")));
    assert_eq!(report["answered"], server.requests());
    assert_eq!(report["due"], report["answered"]);
    assert_eq!(report["invalid"], json!([]));
    assert_eq!(service.status()["phase"], "over");
    assert_eq!(service.change(&json!({"rate": 5})).0, 409);
    assert_eq!(service.curl(&["-X", "DELETE"], "/v1/load").0, 409);
    // And another.
    assert_eq!(service.begin(&open(10), &server).0, 201);
}

#[test]
fn a_rate_goes_evenly_to_another_one() {
    let server = Server::start(|stream, _| ok(stream));
    let service = Service::start();
    assert_eq!(service.begin(&open(50), &server).0, 201);
    wait("requests come", || server.requests() >= 5);
    let (before, begun) = (server.requests(), Instant::now());
    let ramp = json!({"rate": 450, "over": "4s"});
    assert_eq!(service.change(&ramp).0, 204);
    wait("it is on its way", || {
        service.status()["rate"].as_f64() > Some(150.0)
    });
    let status = service.status();
    assert!(status["rate"].as_f64() < Some(450.0), "{status}");
    assert_eq!(
        (&status["rate_goal"], &status["rate_is_set"]),
        (&json!(450.0), &json!(true))
    );
    wait("it is there", || service.status()["rate"] == 450.0);
    let took = begun.elapsed();
    assert!((3.9..8.0).contains(&took.as_secs_f64()), "{took:?}");
    // 250 a second on average, and what was due after it was there.
    let reached = (server.requests() - before) as f64;
    let due = 1000.0 + 450.0 * (took.as_secs_f64() - 4.0);
    assert!((reached - due).abs() < due * 0.2, "{reached} of {due}");
    assert_eq!(service.change(&json!({"rate": null})).0, 204);
    wait("it is the shape's", || service.status()["rate"] == 50.0);
    assert_eq!(service.status()["rate_goal"], Value::Null);
    for (change, words) in [
        (json!({"over": "3s"}), "needs a rate"),
        (json!({"rate": null, "over": "3s"}), "needs a rate"),
        (json!({"rate": 5, "over": "soon"}), "`soon` is not allowed"),
        (json!({"rate": 5, "over": "25h"}), "up to 24h"),
        (json!({"rate": -5, "over": "3s"}), "not between 0"),
    ] {
        let (code, text) = service.change(&change);
        assert!(code == 400 && text.contains(words), "{change}: {text}");
    }
}

#[test]
fn the_last_seconds_are_told_and_a_load_lasts_as_long_as_is_asked() {
    let server = Server::start(|stream, _| ok(stream));
    let service = Service::start();
    assert_eq!(service.curl(&[], "/v1/load/window").0, 409);
    let short = open(50).replace("for 1h", "for 1s");
    let path = format!("/v1/load?target={}&for=1h", server.url());
    assert_eq!(service.curl(&["-X", "PUT", "-d", &short], &path).0, 201);
    assert_eq!(service.status()["length_s"], 3600.0);
    wait("it goes on after its shape's end", || {
        server.requests() >= 200
    });
    let window = |query: &str| -> Value {
        let (code, text) = service.curl(&[], &format!("/v1/load/window?{query}"));
        assert_eq!(code, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let lately = window("seconds=2&in_time=1s&quantile=0.5");
    let due = lately["due"].as_u64().unwrap();
    assert!((40..=120).contains(&due), "{lately}");
    assert_eq!(lately["errors"], 0);
    assert!(lately["good"].as_u64().unwrap() > due / 2, "{lately}");
    assert!(lately["quantile_ns"].as_u64().unwrap() > 0, "{lately}");
    assert!(window("seconds=0")["due"].as_u64() >= Some(150));
    // Nothing comes within a nanosecond.
    assert_eq!(window("seconds=2&in_time=1ns")["good"], 0);
    for (query, words) in [
        ("seconds=61", "not between 1 and 60"),
        ("quantile=1", "not between 0 and 1"),
        ("in_time=soon", "such as 1s"),
    ] {
        let (code, text) = service.curl(&[], &format!("/v1/load/window?{query}"));
        assert!(code == 400 && text.contains(words), "{query}: {text}");
    }
    let long = format!("/v1/load?target={}&for=soon", server.url());
    let (code, text) = service.curl(&["-X", "PUT", "-d", &short], &long);
    assert!(code == 400 && text.contains("such as 2h"), "{text}");
}

#[test]
fn statistics_come_as_lines_and_to_prometheus() {
    let server = Server::start(|stream, _| ok(stream));
    let service = Service::start();
    assert_eq!(service.curl(&[], "/v1/load/statistics").0, 409);
    service.begin(&open(200), &server);
    let output = Command::new("curl")
        .args(["-sN", "--max-time", "2", "--unix-socket", &service.socket()])
        .arg("http://loadgen/v1/load/statistics")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() >= 5, "{text}");
    let answered: u64 = lines
        .iter()
        .map(|line| line["answered"].as_u64().unwrap())
        .sum();
    assert!((200..=500).contains(&answered), "{answered}");
    assert!(lines.iter().all(|line| line["rate"] == 200.0), "{text}");
    let output = Command::new("curl")
        .args(["-s", &format!("http://{}/metrics", service.metrics)])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "observastack_loadgen_running 1",
        "observastack_loadgen_asked_rate 200",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn users_are_paused_too_and_have_no_rate() {
    let server = Server::start(|stream, _| ok(stream));
    let service = Service::start();
    let shape =
        "users: {count: 3, think: 5ms, for: 1h}\njourneys:\n  - {name: a, steps: [{get: /}]}\n";
    assert_eq!(service.begin(shape, &server).0, 201);
    wait("requests come", || server.requests() >= 30);
    wait("it is looked at", || {
        service.status()["elapsed_s"].as_f64() > Some(0.1)
    });
    let (code, body) = service.change(&json!({"rate": 5}));
    assert!(code == 409 && body.contains("closed loop"), "{body}");
    service.change(&json!({"paused": true}));
    wait("it is paused", || service.status()["phase"] == "paused");
    thread::sleep(Duration::from_millis(200));
    let before = server.requests();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(server.requests(), before);
    service.change(&json!({"paused": false}));
    wait("they go on", || server.requests() > before + 10);
    let (code, _) = service.curl(&["-X", "DELETE"], "/v1/load");
    assert_eq!(code, 200);
}

#[test]
fn what_is_wrong_is_told() {
    let server = Server::start(|stream, _| ok(stream));
    let service = Service::start();
    let answered = |(code, body): (u16, String), wanted: u16, words: &str| {
        assert!(code == wanted && body.contains(words), "{code}: {body}");
        assert!(body.contains("\"error\""), "{body}");
    };
    answered(
        service.begin("arrivals: {stages: [\"5 for 1s\"]}\n", &server),
        400,
        "journeys",
    );
    answered(
        service.begin(&open(10).replace("get", "gt"), &server),
        400,
        "line 4, column",
    );
    let nowhere = service.curl(
        &["-X", "PUT", "-d", "steady-baseline"],
        "/v1/load?target=http://127.0.0.1:1",
    );
    answered(nowhere, 502, "cannot be reached");
    let ftp = service.curl(
        &["-X", "PUT", "-d", "steady-baseline"],
        "/v1/load?target=ftp://x",
    );
    answered(ftp, 400, "http://127.0.0.1:8000");
    answered(service.change(&json!({"rate": 5})), 409, "no load");
    answered(
        service.curl(&[], "/v1/load/report"),
        404,
        "no load has ended",
    );
    answered(service.curl(&[], "/nothing"), 404, "/v1/load");
    service.begin(&open(10), &server);
    answered(service.change(&json!({"rate": -5})), 400, "between 0 and");
    answered(service.change(&json!({"speed": 5})), 400, "rate");
    let (code, body) = service.curl(&[], "/v1/shapes");
    assert!(code == 200 && body.contains("flash-sale"), "{body}");
    // A second one is refused, and the first goes on.
    let output = Command::new(PROGRAM)
        .args([
            "serve",
            "--metrics",
            "127.0.0.1:0",
            "--socket",
            &service.socket(),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("another one is listening"),
        "{said}"
    );
    assert_eq!(service.status()["phase"], "running");
}
