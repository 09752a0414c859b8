//! A collector of its own for each test, and what is sent to it.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used
)]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// No condition of these tests takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Collector {
    child: Child,
    addresses: HashMap<String, String>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

impl Collector {
    pub fn start(store: &Path, more: &[&str]) -> Self {
        let any = "127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_observastack-collector"))
            .args([
                "--otlp-grpc",
                any,
                "--otlp-http",
                any,
                "--query",
                any,
                "--metrics",
                any,
            ])
            .args(["--disk-reserve-mib", "0", "--store-dir"])
            .arg(store)
            .args(more)
            .env_remove("JOURNAL_STREAM")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = loop {
            let line = lines.next().expect("the collector ended").unwrap();
            eprintln!("{line}");
            if line.contains("listening") {
                break line;
            }
        };
        // What it says later belongs to the test's output, and must not fill the pipe.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        });
        let addresses = listening
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { child, addresses }
    }

    pub fn address(&self, name: &str) -> &str {
        &self.addresses[name]
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits on a thread of its own, so that this test's clients can answer meanwhile.
    pub async fn terminate(mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let waited = tokio::task::spawn_blocking(move || self.child.wait().unwrap());
        waited.await.unwrap()
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        send(
            Method::POST,
            &format!("http://{}{path}", self.address("otlp_http")),
            headers,
            body,
        )
        .await
    }

    pub async fn traces(&self, request: &ExportTraceServiceRequest) -> Answer {
        use prost::Message as _;
        let kind = [("content-type", "application/x-protobuf")];
        self.post("/v1/traces", &kind, request.encode_to_vec())
            .await
    }

    pub async fn logs(&self, request: &ExportLogsServiceRequest) -> Answer {
        use prost::Message as _;
        let kind = [("content-type", "application/x-protobuf")];
        self.post("/v1/logs", &kind, request.encode_to_vec()).await
    }

    pub async fn query(&self, path: &str) -> Answer {
        send(
            Method::GET,
            &format!("http://{}{path}", self.address("query")),
            &[],
            Vec::new(),
        )
        .await
    }

    /// The sum of a counter over all its labels, or over those with this text in them.
    pub async fn counted(&self, name: &str, labels: &str) -> u64 {
        let uri = format!("http://{}/metrics", self.address("metrics"));
        let text = send(Method::GET, &uri, &[], Vec::new()).await.body;
        let text = String::from_utf8(text.to_vec()).unwrap();
        let name = format!("observastack_collector_{name}");
        text.lines()
            .filter(|line| {
                line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "))
            })
            .filter(|line| line.contains(labels))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
            .sum()
    }

    /// Waits until a counter has this value.
    pub async fn until_counted(&self, name: &str, labels: &str, value: u64) {
        eventually(&format!("{name} {labels} = {value}"), async || {
            self.counted(name, labels).await == value
        })
        .await;
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn send(method: Method, uri: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client
        .request(request.body(Full::new(Bytes::from(body))).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_nanos() as u64
}

pub fn attribute(key: &str, value: &str) -> KeyValue {
    attribute_of(key, any_value::Value::StringValue(value.to_owned()))
}

pub fn attribute_of(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub fn resource(service: &str) -> Option<Resource> {
    Some(Resource {
        attributes: vec![attribute("service.name", service)],
        ..Resource::default()
    })
}

/// A span of trace `trace`: number `id`, below `parent` unless that is 0.
pub fn span(trace: u128, id: u64, parent: u64, name: &str) -> Span {
    let start = now_ns();
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 5_000_000,
        attributes: vec![attribute("http.route", "/orders")],
        ..Span::default()
    }
}

pub fn failed(mut span: Span) -> Span {
    span.status = Some(Status {
        message: "no stock".to_owned(),
        code: 2,
    });
    span
}

pub fn traces_of(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: resource(service),
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// `count` spans, each of a trace of its own, numbered from `first`.
pub fn many(service: &str, first: u64, count: u64) -> ExportTraceServiceRequest {
    let spans =
        (first..first + count).map(|number| span(u128::from(number), number, 0, "GET /orders"));
    traces_of(service, spans.collect())
}

pub fn log(severity: i32, body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: now_ns(),
        severity_number: severity,
        body: Some(AnyValue {
            value: Some(any_value::Value::StringValue(body.to_owned())),
        }),
        ..LogRecord::default()
    }
}

pub fn logs_of(service: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: resource(service),
            scope_logs: vec![ScopeLogs {
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
