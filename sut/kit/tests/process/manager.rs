//! Signals, and what the service manager hears.

use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::json;

use super::common::Client;
use super::parent::Parent;
use super::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "sigterm_finishes_the_request_in_flight_refuses_new_ones_and_exits_with_0",
            sigterm,
        ),
        trial("a_second_sigterm_ends_the_drain", second_sigterm),
        trial(
            "sighup_reads_the_file_again_and_a_bad_file_changes_nothing",
            sighup,
        ),
        trial(
            "the_watchdog_is_fed_only_while_the_service_is_alive",
            watchdog,
        ),
        trial(
            "failed_requests_are_logged_with_their_cause_and_others_at_debug_only",
            request_logs,
        ),
        trial(
            "a_task_that_fails_by_itself_ends_the_service_with_1",
            failed_task,
        ),
    ]
}

async fn sigterm() {
    let parent = Parent::new();
    let mut service = parent.start();
    let address = parent.address();
    let mut busy = Client::tcp(address).await.unwrap();
    busy.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    parent.wait_for_file("arrived").await;

    service.signal(Signal::TERM);
    parent.hears("STOPPING=1");
    while Client::tcp(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!service.has_ended(), "the request in flight is waited for");
    std::fs::write(parent.path().join("go"), "").unwrap();
    assert_eq!(busy.read().await.unwrap().status, 200);
    let (status, stderr) = service.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!parent.path().join("admin.sock").exists());
}

async fn second_sigterm() {
    let parent = Parent::new();
    let service = parent.start();
    let mut busy = Client::tcp(parent.address()).await.unwrap();
    busy.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    parent.wait_for_file("arrived").await;
    service.signal(Signal::TERM);
    parent.hears("STOPPING=1");
    service.signal(Signal::TERM);
    let (status, stderr) = service.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(
        stderr.contains("stopped before everything was finished"),
        "{stderr}"
    );
    assert!(busy.closed().await);
}

async fn sighup() {
    let parent = Parent::new();
    let service = parent.start();
    assert_eq!(parent.patch(&json!({"counter": 1})).await.status, 200);
    let file = parent.path().join("state/config.json");
    std::fs::write(&file, r#"{"version": 2, "config": {"counter": 5}}"#).unwrap();
    service.signal(Signal::HUP);
    assert!(parent.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(parent.hears("STATUS=").contains("configuration version 3"));
    parent.hears("READY=1");
    let view = parent.config().await;
    assert_eq!(
        (&view["version"], &view["config"]["counter"]),
        (&json!(3), &json!(5))
    );

    std::fs::write(&file, r#"{"version": 3, "config": {"counter": "#).unwrap();
    service.signal(Signal::HUP);
    parent.hears("RELOADING=1");
    let status = parent.hears("STATUS=");
    assert!(
        status.contains("reload refused")
            && status.contains("config.json is corrupt at line 1 column"),
        "{status}"
    );
    parent.hears("READY=1");
    assert_eq!(parent.config().await, view);

    service.signal(Signal::TERM);
    let (status, stderr) = service.ended();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let changed = stderr
        .lines()
        .find(|line| line.contains("configuration changed") && line.contains("counter"));
    assert!(
        changed.is_some_and(|line| line.ends_with(" config_version=2")),
        "{stderr}"
    );
}

async fn watchdog() {
    let parent = Parent::new();
    let timeout = Duration::from_millis(200);
    let service = parent.start_with(
        parent
            .command()
            .env("WATCHDOG_USEC", timeout.as_micros().to_string()),
    );
    for _ in 0..5 {
        parent.hears("WATCHDOG=1");
    }
    let mut client = Client::tcp(parent.address()).await.unwrap();
    assert_eq!(client.send("POST", "/die", &[], "").await.status, 200);
    parent.hears_no_more("WATCHDOG=1", timeout * 5);
    service.signal(Signal::TERM);
    let (_, stderr) = service.ended();
    assert!(stderr.contains("told to"), "{stderr}");
}

async fn failed_task() {
    let parent = Parent::new();
    std::fs::write(parent.path().join("fail"), "").unwrap();
    let (code, stderr) = parent.fails(&mut parent.command());
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("error: doomed failed: out of luck"),
        "{stderr}"
    );
}

async fn request_logs() {
    let logged = async |filter: &str| {
        let parent = Parent::new();
        let service = parent.start_with(parent.command().env("OBSERVASTACK_LOG", filter));
        let mut client = Client::tcp(parent.address()).await.unwrap();
        let headers = [
            ("x-request-id", "r-1"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
        ];
        assert_eq!(
            client.send("GET", "/broken", &headers, "").await.status,
            500
        );
        assert_eq!(
            client.send("GET", "/nowhere", &headers, "").await.status,
            404
        );
        service.signal(Signal::TERM);
        service.ended().1
    };
    let info = logged("info").await;
    let failed: Vec<&str> = info
        .lines()
        .filter(|line| line.contains("request failed"))
        .collect();
    let [failed] = failed.as_slice() else {
        panic!("{info}")
    };
    for part in [
        " WARN ",
        "internal error: the cause",
        "r-1",
        "0af7651916cd43dd8448eb211c80319c",
        "/broken",
        "500",
    ] {
        assert!(failed.contains(part), "{part} is not in {failed}");
    }
    assert!(!info.contains("/nowhere"), "{info}");
    let debug = logged("observastack_kit=debug").await;
    let access = debug
        .lines()
        .find(|line| line.contains("/nowhere"))
        .unwrap_or_default();
    assert!(
        access.contains("DEBUG") && access.contains("404"),
        "{debug}"
    );
}
