//! Traces: one request is one trace, with the spans of every hop, its log lines and an exemplar; also when a hop fails.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    collector::{self, TraceId, is},
    command, figures,
    http::{Answer, Connection, curl},
    journal,
    lab::{self, CTL, GATEWAY, INVENTORY, SHOP},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "otlp::one_request_is_one_trace_with_all_its_spans_logs_and_an_exemplar",
            one_request,
        ),
        test("otlp::a_hop_that_fails_is_in_the_trace", failing_hop),
        test("otlp::a_hop_that_times_out_is_in_the_trace", late_hop),
        test(
            "otlp::ten_thousand_requests_lose_no_span",
            ten_thousand_requests,
        ),
        test("otlp::probes_and_scrapes_begin_no_traces", probes),
    ]
}

/// What an order does where all is well, as the spans are called.
const ORDER: [(&str, &str); 9] = [
    ("gateway", "POST /orders"),
    ("api@", "POST /orders"),
    ("api@", "find_customer"),
    ("api@", "insert_order"),
    ("api@", "commit"),
    ("api@", "POST /reservations"),
    ("inventory", "POST /reservations"),
    ("inventory", "lock_items"),
    ("inventory", "commit"),
];

fn order(trace: &TraceId) -> Result<Answer> {
    let body = lab::order("P00002", 1);
    let url = format!("{SHOP}/orders");
    curl(&["--header", &trace.header(), "--json", &body, &url])
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    &span["attributes"][name]
}

fn one_request() -> Result<()> {
    let trace = TraceId::new()?;
    let mark = journal::mark()?;
    order(&trace)?.expect(201)?;
    let spans = trace.whole(&ORDER)?;
    let server: Vec<&Value> = spans
        .iter()
        .filter(|span| is(span, "gateway", "POST /orders") && span["kind"] == "server")
        .collect();
    ensure!(
        server.len() == 1 && server[0]["parent_span_id"] == collector::CALLER,
        "the gateway's: {server:?}"
    );
    ensure!(
        attribute(server[0], "http.response.status_code") == 201
            && attribute(server[0], "http.route") == "/orders",
        "{}",
        server[0]
    );
    for span in &spans {
        ensure!(span["status"] != "error", "{span}");
        if attribute(span, "db.system.name") == "postgresql" {
            ensure!(span["kind"] == "client", "{span}");
        }
    }
    // Names of statements, no values; the order's only product would be one.
    let text = Value::from(spans.clone()).to_string();
    ensure!(!text.contains("P00002"), "a value is told: {text}");

    // Its lines: in the journal by their own field, and in the collector.
    let record = mark.wait_for(GATEWAY, "the request with its trace", |record| {
        record["TRACE_ID"] == trace.0.as_str()
    })?;
    ensure!(
        journal::all_text(&record).contains("/orders"),
        "another line: {record}"
    );
    wait::until_true(wait::SOON, "its log lines are there", || {
        let logs = trace.logs()?;
        let has = |unit: &str, body: &str| {
            logs.iter().any(|log| {
                let of = log["unit"].as_str().unwrap_or_default();
                of.contains(unit) && log["body"].as_str().unwrap_or_default().contains(body)
            })
        };
        Ok(has("api@", "order placed") && has("gateway", "/orders"))
    })?;
    // An exemplar, as Prometheus has scraped it.
    let query = "query=http_server_request_duration_seconds_bucket{service=\"gateway\"}";
    wait::until_true(wait::SOON, "Prometheus has the exemplar", || {
        let answer = curl(&[
            "--get",
            "--data-urlencode",
            query,
            "--data-urlencode",
            "start=0",
            "--data-urlencode",
            "end=9999999999",
            "http://127.0.0.1:9190/api/v1/query_exemplars",
        ])?;
        Ok(answer.expect(200)?.to_string().contains(&trace.0))
    })?;
    // And as the command line shows it.
    let shown = command::output(&[CTL, "trace", &trace.0])?;
    for words in ["insert_order", "lock_items", "order placed", "0 errors"] {
        ensure!(shown.contains(words), "no {words:?} in {shown}");
    }
    figures::note(format!("an order has {} spans", spans.len()));
    let found = lab::ctl(&[
        "traces",
        "--service",
        "observastack-api",
        "--operation",
        "POST /orders",
        "--attribute",
        "http.response.status_code=201",
        "--min-duration",
        "1us",
    ])?;
    ensure!(found.to_string().contains(&trace.0), "{found}");
    let found = lab::ctl(&["logs", "order", "placed", "--trace", &trace.0])?;
    ensure!(found["logs"].as_array().map(Vec::len) == Some(1), "{found}");
    Ok(())
}

/// The api's call to the inventory, which is an error of this type.
fn failed_call(spans: &[Value], error_type: &[&str]) -> Result<()> {
    let call = spans
        .iter()
        .find(|span| is(span, "api@", "POST /reservations") && span["kind"] == "client")
        .with_context(|| format!("no call in {spans:?}"))?;
    let found = attribute(call, "error.type").as_str().unwrap_or_default();
    ensure!(
        call["status"] == "error" && error_type.contains(&found),
        "{call}"
    );
    for unit in ["gateway", "api@"] {
        let failed = spans.iter().any(|span| {
            is(span, unit, "POST /orders") && span["status"] == "error" && span["kind"] == "server"
        });
        ensure!(failed, "no error of {unit} in {spans:?}");
    }
    Ok(())
}

fn failing_hop() -> Result<()> {
    let trace = TraceId::new()?;
    systemd::stop(INVENTORY)?;
    let answer = order(&trace)?;
    ensure!(answer.status >= 500, "answered {}", answer.status);
    let spans = trace.whole(&ORDER[..3])?;
    failed_call(&spans, &["connect"])?;
    ensure!(
        !spans
            .iter()
            .any(|span| is(span, "inventory", "POST /reservations")),
        "a stopped service has spans"
    );
    wait::until_true(wait::SOON, "its log lines say why", || {
        let logs = trace.logs()?;
        Ok(logs
            .iter()
            .any(|log| ["warn", "error"].iter().any(|level| log["level"] == *level)))
    })?;
    systemd::start(INVENTORY)
}

fn late_hop() -> Result<()> {
    let trace = TraceId::new()?;
    let id = lab::inject(&["freeze", "--unit", INVENTORY, "--for", "10m"])?;
    let answer = order(&trace)?;
    ensure!(answer.status >= 500, "answered {}", answer.status);
    let spans = trace.whole(&ORDER[..3])?;
    failed_call(&spans, &["timeout"])?;
    lab::clear(id).map(drop)
}

fn ten_thousand_requests() -> Result<()> {
    const CONNECTIONS: u32 = 8;
    const EACH: u32 = 1_250;
    /// Requests a second of all together.
    const RATE: f64 = 300.0;
    let traces = Mutex::new(Vec::new());
    let begun = Instant::now();
    thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|client| {
                let traces = &traces;
                scope.spawn(move || -> Result<()> {
                    let mut connection = Connection::open(8000)?;
                    for number in 0..EACH {
                        let due = f64::from(number * CONNECTIONS + client) / RATE;
                        let wait = Duration::from_secs_f64(due).checked_sub(begun.elapsed());
                        thread::sleep(wait.unwrap_or_default());
                        let trace = TraceId::new()?;
                        let answer =
                            connection.send("GET", "/products/P00001", &[&trace.header()], "")?;
                        ensure!(answer.0 == 200, "answered {}", answer.0);
                        traces
                            .lock()
                            .map_err(|_| anyhow!("a client panicked"))?
                            .push(trace);
                    }
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(())
    })?;
    let rate = f64::from(CONNECTIONS * EACH) / begun.elapsed().as_secs_f64();
    let traces = traces.into_inner()?;
    ensure!(traces.len() == (CONNECTIONS * EACH) as usize);

    let mut questions = Connection::open(4320)?;
    let mut spans = 0;
    for trace in &traces {
        let path = format!("/api/traces/{}", trace.0);
        spans += wait::until(wait::SOON, &format!("trace {} is whole", trace.0), || {
            let (status, body) = questions.send("GET", &path, &[], "")?;
            ensure!(status == 200, "answered {status}");
            let spans = collector::spans_of(&serde_json::from_slice(&body)?)?;
            collector::is_whole(&spans)?;
            // The inventory is asked where the API server does not remember.
            for unit in ["gateway", "api@"] {
                let served = spans.iter().filter(|span| {
                    is(span, unit, "GET /products/{sku}") && span["kind"] == "server"
                });
                ensure!(served.count() == 1, "{unit}: {spans:?}");
            }
            Ok(Some(spans.len()))
        })?;
    }
    // What was sent is what was stored, by both sides' counts.
    for port in [8001, 8101, 8102, 8200, 8300] {
        let text = curl(&[&format!("http://127.0.0.1:{port}/metrics")])?.body;
        let dropped = lab::metric(&text, "observastack_otlp_dropped_total", &["traces"]);
        ensure!(
            dropped.unwrap_or_default() == 0.0,
            "port {port} has dropped {dropped:?}"
        );
    }
    figures::note(format!(
        "{} requests at {rate:.0} a second: all {spans} spans are there",
        traces.len()
    ));
    Ok(())
}

fn probes() -> Result<()> {
    let before = collector::ask("traces?attribute=http.route%3D/healthz&limit=200")?;
    for port in [8001, 8101, 8102, 8200, 8300] {
        for path in ["healthz", "livez", "metrics"] {
            curl(&[&format!("http://127.0.0.1:{port}/{path}")])?;
        }
    }
    // A trace that comes after them shows that theirs would have come.
    let trace = TraceId::new()?;
    order(&trace)?.expect(201)?;
    trace.whole(&ORDER)?;
    let after = collector::ask("traces?attribute=http.route%3D/healthz&limit=200")?;
    let count = |answer: &Value| answer["traces"].as_array().map(Vec::len);
    ensure!(count(&before) == count(&after), "{before} and {after}");
    // One that is asked for within a trace is in it.
    let trace = TraceId::new()?;
    curl(&["--header", &trace.header(), "http://127.0.0.1:8200/healthz"])?;
    trace.whole(&[("inventory", "GET /healthz")]).map(drop)
}
