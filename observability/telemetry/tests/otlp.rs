//! What a process sends to a collector, and what becomes of it when there is none.
//!
//! This program is both sides: with [`ROLE`] in its environment it is the process, else the tests, which play the collector.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, ExitCode},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use http::HeaderMap;
use libtest_mimic::{Arguments, Trial};
use observastack_telemetry::{
    logs, metrics,
    otlp::{self, Identity},
    traces,
};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;

const ROLE: &str = "OBSERVASTACK_TEST_ROLE";
/// The role of one who logs with and without a trace.
const LEVELS: &str = "levels";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long the process tries to send at its end where nothing can be sent.
const IN_VAIN: Duration = Duration::from_millis(500);
/// And where it has to arrive, on a machine with other things to do.
const SURELY: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        process(&role);
        return ExitCode::SUCCESS;
    }
    let trials = [
        (
            "spans_and_log_records_of_a_request_arrive_with_their_trace",
            arrive as fn(),
        ),
        (
            "below_a_warning_only_records_of_recorded_traces_and_of_none_arrive",
            levels,
        ),
        (
            "a_dead_collector_costs_no_time_and_every_loss_is_counted",
            dead,
        ),
        (
            "a_silent_collector_holds_up_neither_work_nor_the_end",
            silent,
        ),
        (
            "without_an_endpoint_ids_go_on_and_nothing_is_recorded",
            unset,
        ),
        ("a_malformed_endpoint_is_an_error", malformed),
    ]
    .map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// The process: makes spans and records as its role says, and prints what it has counted.
fn process(role: &str) {
    logs::init("observastack-test").unwrap();
    let mut registry = metrics::registry("observastack-test", "1.2.3");
    let identity = Identity {
        service: "observastack-test",
        instance: "observastack-test@7".to_owned(),
        version: "1.2.3",
    };
    let pipeline = match otlp::start(&identity, &mut registry) {
        Ok(pipeline) => pipeline,
        Err(error) => {
            println!("{error}");
            return;
        }
    };
    let began = Instant::now();
    let mut headers = HeaderMap::new();
    headers.insert(traces::TRACEPARENT, PARENT.parse().unwrap());
    if role == LEVELS {
        tracing::info!("of no trace");
        traces::server(&headers, "GET", "/").within(|| tracing::info!("recorded, information"));
        let left_out = PARENT.replace("b7-01", "b7-00");
        headers.insert(traces::TRACEPARENT, left_out.parse().unwrap());
        traces::server(&headers, "GET", "/").within(|| {
            tracing::info!("left out, information");
            tracing::warn!("left out, a warning");
        });
    }
    let spans: u32 = role.parse().unwrap_or(0);
    for _ in 0..spans {
        let request = traces::server(&headers, "GET", "/products/{id}");
        request.within(|| {
            let statement = traces::statement("read_product");
            statement.failed("timeout", || "too late".to_owned());
            tracing::warn!(order_id = 17, "stock unknown");
            let mut onward = HeaderMap::new();
            traces::client("GET", "/stock/{sku}").inject(&mut onward);
            assert!(
                onward[traces::TRACEPARENT]
                    .to_str()
                    .unwrap()
                    .contains(TRACE)
            );
        });
        request.answered(500, true);
    }
    println!("worked_ms {}", began.elapsed().as_millis());
    pipeline.shut_down(if spans > 1 { IN_VAIN } else { SURELY });
    println!("ended_ms {}", began.elapsed().as_millis());
    print!("{}", metrics::encode(&registry));
}

/// Runs the process; what it printed.
fn run(spans: u32, endpoint: Option<&str>) -> String {
    run_as(&spans.to_string(), endpoint)
}

fn run_as(role: &str, endpoint: Option<&str>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role);
    for name in ["JOURNAL_STREAM", ENDPOINT, "OTEL_SDK_DISABLED"] {
        command.env_remove(name);
    }
    command.env("OTEL_BSP_MAX_QUEUE_SIZE", "1000");
    command.envs(endpoint.map(|endpoint| (ENDPOINT, endpoint)));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A number after a name, in what the process printed; 0 without the name.
fn number(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        .unwrap_or(0)
}

fn dropped(text: &str, signal: &str) -> u64 {
    ["queue_full", "not_taken", "shutdown"]
        .map(|reason| {
            let labels = format!("{{signal=\"{signal}\",reason=\"{reason}\"}}");
            number(text, &format!("observastack_otlp_dropped_total{labels}"))
        })
        .iter()
        .sum()
}

/// Answers every request with an empty message; the paths and bodies.
fn collector() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, bodies) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                while let Some(request) = take(&stream) {
                    let _ = sender.send(request);
                }
            });
        }
    });
    (endpoint, bodies)
}

fn take(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut stream = stream;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .ok()?;
    Some((path, body))
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{key} is {other:?}"),
    }
}

fn arrive() {
    let (endpoint, bodies) = collector();
    let printed = run(1, Some(&endpoint));
    let (mut spans, mut records) = (Vec::new(), Vec::new());
    for (path, body) in bodies.try_iter() {
        match path.as_str() {
            "/v1/traces" => {
                let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
                for of in request.resource_spans {
                    let resource = of.resource.unwrap().attributes;
                    assert_eq!(text(&resource, "service.name"), "observastack-test");
                    assert_eq!(
                        text(&resource, "service.instance.id"),
                        "observastack-test@7"
                    );
                    spans.extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
                }
            }
            "/v1/logs" => {
                let request = ExportLogsServiceRequest::decode(&body[..]).unwrap();
                for of in request.resource_logs {
                    records.extend(
                        of.scope_logs
                            .into_iter()
                            .flat_map(|scope| scope.log_records),
                    );
                }
            }
            other => panic!("{other}"),
        }
    }
    let find = |kind: SpanKind, name: &str| -> &Span {
        let found = spans
            .iter()
            .find(|span| span.kind == kind as i32 && span.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let request = find(SpanKind::Server, "GET /products/{id}");
    let statement = find(SpanKind::Client, "read_product");
    let call = find(SpanKind::Client, "GET /stock/{sku}");
    assert_eq!(spans.len(), 3);
    let id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    assert!(spans.iter().all(|span| span.trace_id == id));
    assert_eq!(
        request.parent_span_id,
        0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()
    );
    for below in [statement, call] {
        assert_eq!(below.parent_span_id, request.span_id);
    }
    assert_eq!(text(&statement.attributes, "error.type"), "timeout");
    assert_eq!(text(&statement.attributes, "db.system.name"), "postgresql");
    assert_eq!(text(&request.attributes, "error.type"), "500");

    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(
        (&records[0].trace_id[..], &records[0].span_id),
        (&id[..], &request.span_id)
    );
    assert_eq!(records[0].severity_text, "WARN");
    for (signal, items) in [("traces", 3), ("logs", 1)] {
        let sent = format!("observastack_otlp_sent_total{{signal=\"{signal}\"}}");
        assert_eq!(number(&printed, &sent), items, "{printed}");
        assert_eq!(dropped(&printed, signal), 0, "{printed}");
    }
}

fn levels() {
    let (endpoint, bodies) = collector();
    run_as(LEVELS, Some(&endpoint));
    let requests = bodies.try_iter().filter(|(path, _)| path == "/v1/logs");
    let mut told: Vec<String> = requests
        .flat_map(|(_, body)| {
            let request = ExportLogsServiceRequest::decode(&body[..]).unwrap();
            request.resource_logs
        })
        .flat_map(|of| of.scope_logs)
        .flat_map(|scope| scope.log_records)
        .map(|record| match record.body.and_then(|body| body.value) {
            Some(Value::StringValue(text)) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "left out, a warning",
            "of no trace",
            "recorded, information"
        ]
    );
}

fn dead() {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let printed = run(2_000, Some(&format!("http://{port}")));
    assert_eq!(dropped(&printed, "traces"), 6_000, "{printed}");
    assert!(dropped(&printed, "logs") >= 2_000, "{printed}");
}

/// Takes connections and never answers.
fn silent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let printed = run(2_000, Some(&endpoint));
    assert_eq!(dropped(&printed, "traces"), 6_000, "{printed}");
    let (worked, ended) = (number(&printed, "worked_ms"), number(&printed, "ended_ms"));
    // What is sent in vain may take 10 s.
    assert!(worked < 5_000 && ended < worked + 5_000, "{printed}");
}

fn unset() {
    let printed = run(10, None);
    assert_eq!(dropped(&printed, "traces"), 0, "{printed}");
}

fn malformed() {
    let printed = run(1, Some("127.0.0.1:4318"));
    assert_eq!(
        printed.trim(),
        "OTEL_EXPORTER_OTLP_ENDPOINT=\"127.0.0.1:4318\" is not a URL such as http://127.0.0.1:4318"
    );
}
