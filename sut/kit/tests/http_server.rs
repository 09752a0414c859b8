//! The server's manners: limits, timeouts, metrics, and the drain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Client, PATIENCE};
use hyper::StatusCode;
use observastack_kit::http::{
    self, BindError, Drained, HttpError, Options, Request, Response, Router, Server, json,
};
use observastack_telemetry::metrics::{self, HttpMetrics, Registry};
use observastack_telemetry::traces;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// What the handlers share with the tests.
struct Shop {
    /// Requests that have reached the slow handler.
    arrived: Semaphore,
    /// A permit lets one of them go on.
    gate: Semaphore,
}

struct Running {
    address: SocketAddr,
    shop: Arc<Shop>,
    registry: Registry,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<Drained>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    quantity: u8,
}

async fn slow(shop: Arc<Shop>, _: Request) -> Result<Response, HttpError> {
    shop.arrived.add_permits(1);
    shop.gate
        .acquire()
        .await
        .map_err(HttpError::internal)?
        .forget();
    json(StatusCode::OK, "done")
}

fn start(options: impl Fn() -> Options + Send + Sync + 'static) -> Running {
    let shop = Arc::new(Shop {
        arrived: Semaphore::new(0),
        gate: Semaphore::new(0),
    });
    let router = Router::new(Arc::clone(&shop))
        .get("/slow", slow)
        .get("/products/{id}", async |_, request: Request| {
            let id: u64 = request.param("id")?;
            let limit: Option<u32> = request.query_as("limit", "a whole number")?;
            json(StatusCode::OK, &json!({"id": id, "limit": limit, "q": request.query("q"), "trace": traces::current().trace_id()}))
        })
        .post("/orders", async |_, mut request: Request| {
            let order: Order = request.json().await?;
            let quantity: u32 = order.items.iter().map(|item| u32::from(item.quantity)).sum();
            json(StatusCode::CREATED, &quantity)
        })
        .get("/broken", async |_, _| Err(HttpError::internal("the password is swordfish")))
        .get("/panics", async |_, _| panic!("a bug"));
    let listener = http::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut registry = Registry::default();
    let server = Server::new(listener)
        .options(options)
        .config_version(|| 7)
        .metrics(HttpMetrics::register(&mut registry));
    let (stop, shutdown) = watch::channel(false);
    let server = tokio::spawn(server.serve(router, shutdown));
    Running {
        address,
        shop,
        registry,
        stop,
        server,
    }
}

impl Running {
    async fn client(&self) -> Client<TcpStream> {
        Client::tcp(self.address).await.unwrap()
    }

    async fn arrived(&self, requests: u32) {
        let arrived = self.shop.arrived.acquire_many(requests);
        tokio::time::timeout(PATIENCE, arrived)
            .await
            .expect("requests in time")
            .unwrap()
            .forget();
    }

    async fn drained(self) -> Drained {
        tokio::time::timeout(PATIENCE, self.server)
            .await
            .expect("an end in time")
            .unwrap()
            .unwrap()
    }

    /// Waits for a line of the metrics.
    async fn exports(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = metrics::encode(&self.registry);
            if text.lines().any(|found| found == line) {
                return;
            }
            assert!(Instant::now() < deadline, "{line} is not in\n{text}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn count(method: &str, route: &str, status: u16, count: u32) -> String {
    format!(
        "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",http_route=\"{route}\",\
         http_response_status_code=\"{status}\",config_version=\"7\"}} {count}"
    )
}

#[tokio::test]
async fn at_the_stop_requests_in_flight_complete_and_new_connections_are_refused() {
    let running = start(Options::default);
    let (mut busy, mut idle, mut silent) = (
        running.client().await,
        running.client().await,
        running.client().await,
    );
    assert_eq!(idle.get("/products/1").await.status, 200);
    busy.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    running.arrived(1).await;
    let address = running.address;

    running.stop.send_replace(true);
    assert!(idle.closed().await, "an idle connection is closed at once");
    assert!(
        silent.closed().await,
        "and so is one that never sent anything"
    );
    let refused = async {
        while Client::tcp(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("new connections are refused");
    assert!(
        !running.server.is_finished(),
        "the server waits for the request in flight"
    );

    running.shop.gate.add_permits(1);
    let answer = busy.read().await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(busy.closed().await);
    assert_eq!(running.drained().await, Drained { cut_off: 0 });
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cuts_off_what_is_left_and_says_how_much() {
    let running = start(|| Options {
        drain_timeout: Duration::from_millis(50),
        ..Options::default()
    });
    let mut clients = [running.client().await, running.client().await];
    for client in &mut clients {
        client.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    running.arrived(2).await;
    running.stop.send_replace(true);
    for client in &mut clients {
        assert!(client.closed().await);
    }
    running.exports(&count("GET", "/slow", 499, 2)).await;
    assert_eq!(running.drained().await, Drained { cut_off: 2 });
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_one_is_free_or_the_limit_is_raised() {
    let limit = Arc::new(AtomicUsize::new(1));
    let read = Arc::clone(&limit);
    let running = start(move || Options {
        max_connections: read.load(Ordering::SeqCst),
        ..Options::default()
    });
    let mut first = running.client().await;
    assert_eq!(first.get("/products/1").await.status, 200);

    let mut second = running.client().await;
    second.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // The first one is served again and again while the second one waits.
    for _ in 0..20 {
        assert_eq!(first.get("/products/1").await.status, 200);
    }
    assert_eq!(
        running.shop.arrived.available_permits(),
        0,
        "the second connection is not served yet"
    );
    drop(first);
    running.arrived(1).await;

    let mut third = running.client().await;
    limit.store(2, Ordering::SeqCst);
    assert_eq!(third.get("/products/3").await.status, 200);
    running.shop.gate.add_permits(1);
    assert_eq!(second.read().await.unwrap().status, 200);
}

#[tokio::test]
async fn slow_headers_and_idle_connections_are_closed_each_by_its_own_timeout() {
    let short = Duration::from_millis(600);
    let long = Duration::from_secs(600);
    let slow_headers = start(move || Options {
        header_read_timeout: short,
        keep_alive_timeout: long,
        ..Options::default()
    });
    let mut idle = slow_headers.client().await;
    assert_eq!(idle.get("/products/1").await.status, 200);
    let mut dawdler = slow_headers.client().await;
    dawdler.write("GET /products/1 HTTP/1.1\r\nHost:").await;
    assert!(dawdler.closed().await);
    // On a connection in use the clock starts with the first byte, so this one outlived it.
    assert_eq!(idle.get("/products/1").await.status, 200);
    idle.write("GET /pro").await;
    assert!(idle.closed().await);

    let idle_out = start(move || Options {
        header_read_timeout: long,
        keep_alive_timeout: short,
        ..Options::default()
    });
    let mut client = idle_out.client().await;
    assert_eq!(client.get("/products/1").await.status, 200);
    let mut busy = idle_out.client().await;
    busy.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle_out.arrived(1).await;
    assert!(client.closed().await, "idle");
    idle_out.shop.gate.add_permits(1);
    assert_eq!(
        busy.read().await.unwrap().status,
        200,
        "a connection with a request in flight is not idle"
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let running = start(|| Options {
        body_read_timeout: Duration::from_millis(50),
        ..Options::default()
    });
    let mut client = running.client().await;
    client
        .write("POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
        .await;
    assert_eq!(client.read().await.unwrap().status, 408);
}

#[tokio::test]
async fn without_keep_alive_a_connection_carries_one_request() {
    let running = start(|| Options {
        keep_alive: false,
        ..Options::default()
    });
    let mut client = running.client().await;
    let answer = client.get("/products/1").await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(client.closed().await);
}

#[tokio::test]
async fn requests_are_decoded_and_bad_ones_refused_by_name() {
    let running = start(Options::default);
    let mut client = running.client().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let header = format!("00-{trace}-b7ad6b7169203331-01");
    let answer = client
        .send(
            "GET",
            "/products/8?limit=5&q=a%20b+%C3%A9",
            &[("traceparent", &header)],
            "",
        )
        .await;
    assert_eq!(
        answer.json(),
        json!({"id": 8, "limit": 5, "q": "a b \u{e9}", "trace": trace})
    );
    assert_eq!(client.get("/products/eight").await.status, 404);
    let answer = client.get("/products/8?limit=-1").await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.json()["fields"],
        json!([{"field": "limit", "value": "\"-1\"", "allowed": "a whole number"}])
    );
    let answer = client
        .send(
            "POST",
            "/orders",
            &[],
            r#"{"items": [{"quantity": 2}, {"quantity": 3}]}"#,
        )
        .await;
    assert_eq!((answer.status, answer.json()), (201, json!(5)));
    let answer = client
        .send(
            "POST",
            "/orders",
            &[],
            r#"{"items": [{"quantity": 2}, {"quantity": 300}]}"#,
        )
        .await;
    assert_eq!(answer.status, 422);
    let field = &answer.json()["fields"][0];
    assert_eq!(
        (field["field"].as_str(), field["value"].as_str()),
        (Some("items.1.quantity"), Some("300"))
    );
    let answer = client.send("HEAD", "/nowhere", &[], "").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn requests_are_counted_by_template_and_status_and_causes_stay_inside() {
    let running = start(Options::default);
    let mut client = running.client().await;
    for id in 1..=3 {
        client.get(&format!("/products/{id}")).await;
    }
    client.get("/no/such/path").await;
    client.send("PUT", "/orders", &[], "").await;
    let answer = client.get("/broken").await;
    assert_eq!(
        (answer.status, answer.json()),
        (500, json!({"error": "internal error"}))
    );
    client
        .write("GET /panics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(client.closed().await, "a panic costs its connection only");
    let mut gone = running.client().await;
    gone.write("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    running.arrived(1).await;
    running.exports("http_server_active_requests 1").await;
    drop(gone);
    for line in [
        count("GET", "/products/{id}", 200, 3),
        count("GET", "_unmatched", 404, 1),
        count("PUT", "/orders", 405, 1),
        count("GET", "/broken", 500, 1),
        count("GET", "/panics", 500, 1),
        count("GET", "/slow", 499, 1),
        "http_server_active_requests 0".to_owned(),
    ] {
        running.exports(&line).await;
    }
    assert_eq!(running.client().await.get("/products/1").await.status, 200);
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_way_out() {
    let running = start(Options::default);
    let error = http::bind(running.address).unwrap_err();
    assert!(matches!(error, BindError::AddressInUse { .. }), "{error}");
    let expected = format!("{} is already in use", running.address);
    assert!(
        error.to_string().starts_with(&expected) && error.to_string().contains("ss -ltnp"),
        "{error}"
    );
    let elsewhere = "192.0.2.1:80".parse().unwrap();
    assert!(
        http::bind(elsewhere)
            .unwrap_err()
            .to_string()
            .starts_with("cannot listen on 192.0.2.1:80: ")
    );
}
