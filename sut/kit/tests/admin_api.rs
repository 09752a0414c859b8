//! The admin API as an operator meets it: over its Unix socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use common::{Client, PATIENCE};
use observastack_kit::config::{ConfigStore, FieldError, ServiceConfig};
use observastack_kit::health::Health;
use observastack_kit::http::{self, BindError};
use observastack_kit::{admin, ops::Ops};
use observastack_telemetry::metrics;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    cache_ttl_ms: u64,
    pool: Pool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pool {
    size: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_ttl_ms: 1000,
            pool: Pool::default(),
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self { size: 10 }
    }
}

impl ServiceConfig for Config {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        FieldError::collect([
            FieldError::range("cache_ttl_ms", self.cache_ttl_ms, 0..=60_000),
            FieldError::range("pool.size", self.pool.size, 1..=100),
        ])
    }

    fn restart_fields() -> &'static [&'static str] {
        &["pool.size"]
    }
}

struct Service {
    directory: tempfile::TempDir,
    health: Health,
    store: ConfigStore<Config>,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Service {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = ConfigStore::open(&directory.path().join("state"), None).unwrap();
        let health = Health::new();
        let mut registry = metrics::registry("observastack-test", "1.2.3");
        store.register_metrics(&mut registry);
        let ops = Ops {
            health: health.clone(),
            registry: Arc::new(registry),
        };
        let (stop, shutdown) = watch::channel(false);
        let socket = admin::bind(&directory.path().join("admin.sock")).unwrap();
        let server = tokio::spawn(admin::serve(
            socket,
            "observastack-test",
            store.clone(),
            ops,
            shutdown,
        ));
        Self {
            directory,
            health,
            store,
            stop,
            server,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    async fn client(&self) -> Client<UnixStream> {
        Client::unix(&self.socket()).await.unwrap()
    }
}

#[tokio::test]
async fn a_configuration_is_read_replaced_patched_and_reset() {
    let service = Service::start();
    let mut client = service.client().await;
    let answer = client.get("/config").await;
    assert_eq!((answer.status, answer.header("etag")), (200, "\"1\""));
    assert_eq!(answer.header("content-type"), "application/json");
    let view = |version: u64, source: &str, ttl: u64, size: u32, pending: Value| {
        json!({
            "service": "observastack-test", "version": version, "source": source,
            "config": {"cache_ttl_ms": ttl, "pool": {"size": size}}, "pending_restart": pending,
        })
    };
    assert_eq!(answer.json(), view(1, "default", 1000, 10, json!([])));

    let answer = client
        .send("PUT", "/config", &[], r#"{"cache_ttl_ms": 5}"#)
        .await;
    assert_eq!((answer.status, answer.header("etag")), (200, "\"2\""));
    assert_eq!(answer.json(), view(2, "state", 5, 10, json!([])));

    let answer = client
        .send(
            "PATCH",
            "/config",
            &[],
            r#"{"cache_ttl_ms": null, "pool": {"size": 3}}"#,
        )
        .await;
    assert_eq!(
        answer.json(),
        view(3, "state", 1000, 3, json!(["pool.size"]))
    );
    assert_eq!(client.get("/config").await.json(), answer.json());

    let answer = client.send("DELETE", "/config", &[], "").await;
    assert_eq!(answer.json(), view(4, "default", 1000, 10, json!([])));
    assert_eq!(service.store.version(), 4);
}

#[tokio::test]
async fn if_match_lets_nobody_overwrite_what_they_have_not_seen() {
    let service = Service::start();
    let mut client = service.client().await;
    let patch = r#"{"cache_ttl_ms": 7}"#;
    let cases = [
        ("\"2\"", 412),
        ("W/\"1\"", 412),
        ("\"abc\"", 412),
        ("\"4\", \"9\"", 412),
        ("1", 400),
        ("\"1", 400),
        ("\"4\", \"1\"", 200),
        ("\"1\"", 412),
        ("\"2\"", 200),
        ("*", 200),
    ];
    for (tag, expected) in cases {
        let before = service.store.version();
        let answer = client
            .send("PATCH", "/config", &[("If-Match", tag)], patch)
            .await;
        assert_eq!(
            answer.status, expected,
            "If-Match: {tag} at version {before}: {answer:?}"
        );
        assert_eq!(service.store.version(), before + u64::from(expected == 200));
    }
    for method in ["PUT", "DELETE"] {
        assert_eq!(
            client
                .send(method, "/config", &[("If-Match", "\"1\"")], "{}")
                .await
                .status,
            412,
            "{method}"
        );
    }
    let error = client
        .send("DELETE", "/config", &[("If-Match", "\"1\"")], "")
        .await
        .json();
    assert!(
        error["error"].as_str().unwrap().contains("version 4"),
        "{error}"
    );
}

#[tokio::test]
async fn bad_input_is_refused_with_the_fields_and_changes_nothing() {
    let service = Service::start();
    let mut client = service.client().await;
    for (method, body, status) in [
        ("PATCH", "{", 400),
        ("PATCH", "", 400),
        ("PUT", "{\"pool\": {\"size\": 4}", 400),
        ("PUT", "[]", 422),
        ("PATCH", "{\"pool\": 3}", 422),
        ("PATCH", "{\"cache_ttl_ms\": -1}", 422),
        ("PATCH", "{\"cache_ttl_ms\": 1e99}", 422),
    ] {
        let answer = client.send(method, "/config", &[], body).await;
        assert_eq!(answer.status, status, "{method} {body}: {answer:?}");
        assert!(!answer.json()["error"].as_str().unwrap().is_empty());
    }
    let answer = client
        .send(
            "PATCH",
            "/config",
            &[],
            r#"{"poool": 1, "pool": {"size": 0}, "cache_ttl_ms": 60001}"#,
        )
        .await;
    assert_eq!(answer.status, 422);
    let mut fields = answer.json()["fields"].as_array().unwrap().clone();
    fields.sort_by_key(|field| field["field"].as_str().unwrap().to_owned());
    assert_eq!(
        fields,
        [
            json!({"field": "cache_ttl_ms", "value": "60001", "allowed": "0 to 60000"}),
            json!({"field": "pool.size", "value": "0", "allowed": "1 to 100"}),
            json!({"field": "poool", "value": "1", "allowed": "no field of this name; known: cache_ttl_ms or pool"}),
        ]
    );
    let answer = client.send("POST", "/config", &[], "{}").await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, "GET, PUT, PATCH, DELETE")
    );
    assert_eq!(client.get("/confg").await.status, 404);
    assert_eq!(service.store.version(), 1);
    assert!(!service.directory.path().join("state/config.json").exists());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let service = Service::start();
    let limit = http::MAX_BODY_BYTES;
    let padded = |length: usize| format!(r#"{{"cache_ttl_ms": 8}}{}"#, " ".repeat(length - 19));
    let answer = service
        .client()
        .await
        .send("PATCH", "/config", &[], &padded(limit))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for length in [limit + 1, 4 * limit] {
        let answer = service
            .client()
            .await
            .send("PATCH", "/config", &[], &padded(length))
            .await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(
            answer.json()["error"]
                .as_str()
                .unwrap()
                .contains("65536 bytes")
        );
    }
    assert_eq!(service.store.version(), 2);
}

#[tokio::test]
async fn health_and_metrics_are_there() {
    let service = Service::start();
    let database = service.health.readiness("database");
    let dispatcher = service.health.liveness("dispatcher");
    let mut client = service.client().await;
    let answer = client.get("/healthz").await;
    assert_eq!(answer.status, 503);
    let expected =
        json!({"status": "unavailable", "reasons": [{"check": "database", "reason": "starting"}]});
    assert_eq!(answer.json(), expected);
    assert_eq!(
        client.get("/livez").await.status,
        200,
        "a service that is not ready is alive"
    );
    database.up();
    let answer = client.get("/healthz").await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"status": "ok", "reasons": []}))
    );
    dispatcher.down("stuck");
    for path in ["/livez", "/healthz"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(
            answer.json()["reasons"],
            json!([{"check": "dispatcher", "reason": "stuck"}])
        );
    }

    let answer = client.get("/metrics").await;
    assert_eq!(answer.header("content-type"), metrics::CONTENT_TYPE);
    for line in [
        "observastack_build_info{service=\"observastack-test\",version=\"1.2.3\"} 1",
        "observastack_config_version 1",
        "# EOF",
    ] {
        assert!(
            answer.body.lines().any(|found| found == line),
            "{line} is not in\n{}",
            answer.body
        );
    }
    assert!(
        answer.body.contains("\nprocess_resident_memory_bytes "),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_is_gone_after_the_stop() {
    let service = Service::start();
    let mode = std::fs::metadata(service.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let mut idle = service.client().await;
    assert_eq!(idle.get("/livez").await.status, 200);
    service.stop.send_replace(true);
    tokio::time::timeout(PATIENCE, service.server)
        .await
        .expect("an end in time")
        .unwrap()
        .unwrap();
    assert!(idle.closed().await);
    assert!(!service.directory.path().join("admin.sock").exists());
}

#[tokio::test]
async fn a_served_socket_is_left_alone_and_a_dead_one_replaced() {
    let service = Service::start();
    let error = admin::bind(&service.socket()).unwrap_err();
    assert!(matches!(error, BindError::SocketInUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("already served by another process"),
        "{error}"
    );
    assert_eq!(
        service.client().await.get("/livez").await.status,
        200,
        "the first server is not disturbed"
    );

    // A process that crashed leaves its socket file behind.
    let dead = service.directory.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    assert!(dead.exists());
    let _socket = admin::bind(&dead).unwrap();
    Client::unix(&dead).await.unwrap();

    let file = service.directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let error = admin::bind(&file).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let nowhere = service.directory.path().join("nowhere/admin.sock");
    let error = admin::bind(&nowhere).unwrap_err().to_string();
    assert!(error.contains("nowhere/admin.sock"), "{error}");
}
