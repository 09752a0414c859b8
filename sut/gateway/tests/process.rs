//! The process: its configuration, its signals, and how it refuses to start.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{
    client::{Connection, get},
    eventually,
    gateway::{Gateway, command},
    upstream::{Behaviour, Upstream},
};

/// Exit code and standard error of a gateway that ends by itself.
fn fails(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_takes_no_more() {
    let only = Upstream::start().await;
    only.behave(Behaviour::Hang);
    let mut gateway = Gateway::before(&[&only], json!({})).await;
    let shop = gateway.shop;
    let mut idle = Connection::open(shop).await.unwrap();
    assert_eq!(idle.get("/healthz").await.unwrap().status, 200);
    let hanging =
        tokio::spawn(async move { Connection::open(shop).await.unwrap().get("/products").await });
    eventually("a request hangs", async || {
        (only.waiting() == 1).then_some(())
    })
    .await;

    gateway.signal(Signal::TERM);
    eventually("new clients are refused", async || {
        tokio::net::TcpStream::connect(shop)
            .await
            .is_err()
            .then_some(())
    })
    .await;
    eventually("the idle connection is closed", async || {
        idle.get("/healthz").await.is_err().then_some(())
    })
    .await;
    assert!(!hanging.is_finished());
    only.release();
    let answer = hanging.await.unwrap().unwrap();
    assert_eq!(answer.body, "late");
    assert_eq!(answer.header("connection"), "close");
    assert!(gateway.exit().await.success());
    assert!(
        gateway
            .log()
            .iter()
            .any(|line| line.contains("access: GET /products 200")),
        "the last record is written"
    );
    assert!(!gateway.admin_socket().exists());
}

#[tokio::test]
async fn an_idle_gateway_stops_at_once() {
    let only = Upstream::start().await;
    let mut gateway = Gateway::before(&[&only], json!({})).await;
    let mut idle = Connection::open(gateway.shop).await.unwrap();
    assert_eq!(idle.get("/products").await.unwrap().status, 200);
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().await.success());
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_off_after_the_drain_timeout() {
    let only = Upstream::start().await;
    only.behave(Behaviour::Hang);
    let mut gateway = Gateway::before(
        &[&only],
        json!({"timeouts": {"read_ms": 60000}, "drain_timeout_ms": 100}),
    )
    .await;
    let shop = gateway.shop;
    let hanging =
        tokio::spawn(async move { Connection::open(shop).await.unwrap().get("/products").await });
    eventually("a request hangs", async || {
        (only.waiting() == 1).then_some(())
    })
    .await;
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().await.success());
    hanging.await.unwrap().unwrap_err();
    assert!(
        gateway.log().iter().any(|line| line.contains("cut_off=1")),
        "{:?}",
        gateway.log()
    );
}

#[tokio::test]
async fn a_killed_gateway_comes_back_with_its_last_configuration() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut gateway = Gateway::before(&[&first], json!({})).await;
    let view = gateway
        .patch(json!({"upstreams": [{"address": second.address}], "worker_threads": 3}))
        .await;
    assert_eq!(
        (&view["version"], &view["source"]),
        (&json!(2), &json!("state"))
    );
    assert_eq!(view["pending_restart"], json!(["worker_threads"]));
    gateway.signal(Signal::KILL);
    gateway.exit().await;

    let directory = Arc::clone(&gateway.directory);
    drop(gateway);
    let gateway = Gateway::start_in(directory).await;
    let view = gateway.admin(Method::GET, &Value::Null).await.json();
    assert_eq!(
        (&view["version"], &view["pending_restart"]),
        (&json!(2), &json!([]))
    );
    assert_eq!(
        get(gateway.shop, "/products").await.served_by(),
        second.name()
    );
    assert_eq!(
        gateway.metric("observastack_config_version", &[]).await,
        2.0
    );
}

#[tokio::test]
async fn a_bad_value_is_refused_with_its_field_and_changes_nothing() {
    let only = Upstream::start().await;
    let gateway = Gateway::before(&[&only], json!({})).await;
    let before = gateway.admin(Method::GET, &Value::Null).await.json();
    for (patch, field, allowed) in [
        (
            json!({"timeouts": {"read_ms": 0}}),
            "timeouts.read_ms",
            "1 to 300000",
        ),
        (
            json!({"retries": {"budget": {"ratio": 11}}}),
            "retries.budget.ratio",
            "0 to 10",
        ),
        (json!({"upstreams": []}), "upstreams", "a list of 1 to 64"),
        (
            json!({"upstreams": [{"address": "api:80"}]}),
            "upstreams.0.address",
            "an IP address and port",
        ),
        (
            json!({"upstreams": [{"weight": 2}]}),
            "upstreams.0.address",
            "an IP address and port",
        ),
        (
            json!({"balancing": {"algorithm": "fastest"}}),
            "balancing.algorithm",
            "round_robin",
        ),
        (
            json!({"timeouts": {"raed_ms": 1}}),
            "timeouts.raed_ms",
            "read_ms",
        ),
    ] {
        let answer = gateway.admin(Method::PATCH, &patch).await;
        assert_eq!(answer.status, 422, "{patch}");
        let refused = answer.json()["fields"][0].clone();
        assert_eq!(refused["field"], field, "{refused}");
        assert!(
            refused["allowed"].as_str().unwrap().contains(allowed),
            "{refused}"
        );
    }
    assert_eq!(
        gateway.admin(Method::GET, &Value::Null).await.json(),
        before
    );
    assert_eq!(get(gateway.shop, "/products").await.status, 200);
}

#[tokio::test]
async fn a_hangup_reads_the_files_again() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::before(&[&first], json!({})).await;
    assert_eq!(
        get(gateway.shop, "/products").await.served_by(),
        first.name()
    );
    let site = json!({"upstreams": [{"address": second.address}]}).to_string();
    std::fs::write(gateway.directory.path().join("site.json"), site).unwrap();
    gateway.signal(Signal::HUP);
    eventually("the new upstream is used", async || {
        (get(gateway.shop, "/products").await.served_by() == second.name()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_or_invalid_configuration_keeps_the_gateway_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    for (content, expected) in [
        ("{\"version\": 3, \"config\": {\"upstr", "config.json"),
        (
            "{\"version\": 3, \"config\": {\"timeouts\": {\"read_ms\": -1}}}",
            "timeouts.read_ms",
        ),
        (
            "{\"version\": 3, \"config\": {\"worker_threads\": 0}}",
            "worker_threads",
        ),
    ] {
        std::fs::write(state.join("config.json"), content).unwrap();
        let (code, message) = fails(&mut command(directory.path()));
        assert_eq!(code, 1, "{message}");
        assert!(
            message.contains(expected) && message.contains("config.json"),
            "{message}"
        );
        assert!(!message.contains("panicked"), "{message}");
        assert_eq!(
            std::fs::read_to_string(state.join("config.json")).unwrap(),
            content,
            "it is left for a person to look at"
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_clearly_and_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--ops-listen"] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = command(directory.path());
        // The last one wins.
        command.args([option, &address]).env("RUST_BACKTRACE", "0");
        let start = Instant::now();
        let (code, message) = fails(&mut command);
        assert_eq!(code, 1, "{message}");
        assert!(
            message.contains(option) && message.contains(&format!("{address} is already in use")),
            "{message}"
        );
        assert!(start.elapsed().as_secs() < 5, "pingora would try for 30 s");
    }
}

#[test]
fn a_wrong_argument_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let (code, message) = fails(command(directory.path()).arg("--listen=everywhere"));
    assert_eq!(code, 2);
    assert!(message.contains("--listen"), "{message}");
}

#[test]
fn systemd_is_told_when_it_serves_that_it_lives_and_when_it_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut child = command(directory.path())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 1024];
        loop {
            let length = socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|line| line.starts_with(wanted)) {
                return;
            }
        }
    };
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    wait_for("STOPPING=1");
    assert!(child.wait().unwrap().success());
}
