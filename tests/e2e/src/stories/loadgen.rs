//! `observastack-loadgen`: load on the shop, on demand, and what a fault looks like from there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    command, figures, http,
    lab::{self, CTL, LOADGEN, POSTGRESQL},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "loadgen::a_load_is_begun_changed_and_ended_over_the_socket",
            driven,
        ),
        test("loadgen::a_fault_is_seen_from_there", fault),
        test(
            "loadgen::every_shape_of_the_library_has_answers_in_the_shop",
            shapes,
        ),
        test("loadgen::a_stop_of_the_service_ends_the_load", stopped),
    ]
}

/// Asks the service; an answer that is no success is an error.
fn ask(arguments: &[&str], path: &str) -> Result<Value> {
    http::ask(lab::LOADGEN_SOCKET, arguments, path)
}

fn begin(shape: &str) -> Result<()> {
    ask(&["-X", "PUT", "--data-binary", shape], "/v1/load").map(drop)
}

fn change(change: &Value) -> Result<()> {
    ask(&["-X", "PATCH", "-d", &change.to_string()], "/v1/load").map(drop)
}

/// Ends the load; its report.
fn end() -> Result<Value> {
    ask(&["-X", "DELETE"], "/v1/load")
}

/// Whatever a story does, no load is left.
fn with_load(shape: &str, story: impl FnOnce() -> Result<()>) -> Result<Value> {
    begin(shape)?;
    let told = story();
    let report = end();
    told?;
    report
}

const READING: &str = "
name: reading
arrivals: {stages: [\"50 for 1h\"]}
timeout: 2s
traced: 100%
drill: story
journeys:
  - {name: read, steps: [{name: product, get: /products/P00001, check: {json: {/sku: P00001}}}]}
";

fn answered() -> Result<u64> {
    ask(&[], "/v1/load")?["answered"]
        .as_u64()
        .context("no count")
}

fn driven() -> Result<()> {
    let report = with_load(READING, || {
        wait::until_true(wait::SOON, "there are answers", || Ok(answered()? > 50))?;
        change(&json!({"rate": 400}))?;
        let before = answered()?;
        wait::until_true(
            wait::SOON,
            "it is faster",
            || Ok(answered()? > before + 400),
        )?;
        change(&json!({"paused": true}))?;
        wait::until_true(wait::SOON, "it is paused", || {
            Ok(ask(&[], "/v1/load")?["phase"] == "paused")
        })?;
        change(&json!({"paused": false}))
    })?;
    ensure!(
        report["errors"] == json!({}) && report["due"] == report["answered"],
        "{report}"
    );
    figures::note(format!(
        "from due to the answer: p50 {} µs, p99 {} µs; the generator late by {} µs at p99",
        report["response"]["p50_ns"].as_u64().unwrap_or_default() / 1_000,
        report["response"]["p99_ns"].as_u64().unwrap_or_default() / 1_000,
        report["schedule"]["p99_ns"].as_u64().unwrap_or_default() / 1_000,
    ));
    // Its slowest request can be looked at.
    let trace = report["slowest"][0]["trace_id"]
        .as_str()
        .context("no trace")?
        .to_owned();
    wait::until_true(wait::SOON, "its slowest trace is there", || {
        let ran = command::run(&[CTL, "trace", &trace])?;
        Ok(ran.stdout.contains("GET /products/{sku}"))
    })
}

fn fault() -> Result<()> {
    let report = with_load(READING, || {
        wait::until_true(wait::SOON, "there are answers", || Ok(answered()? > 50))?;
        // A product is read from the database.
        command::output(&[
            CTL, "inject", "freeze", "--unit", POSTGRESQL, "--for", "700ms",
        ])?;
        let before = answered()?;
        wait::until_true(wait::SOON, "it goes on afterwards", || {
            Ok(answered()? > before + 100)
        })
    })?;
    let longest = report["response"]["max_ns"].as_u64().context("no times")?;
    ensure!(longest > 400_000_000, "{longest} ns: {report}");
    // All that were due meanwhile have waited, not only one: 35 requests in 700 ms.
    let p90 = report["response"]["p90_ns"].as_u64().context("no times")?;
    figures::note(format!(
        "p90 {} ms, longest {} ms",
        p90 / 1_000_000,
        longest / 1_000_000
    ));
    let slow = report["response"]["points"]
        .as_array()
        .context("no points")?
        .iter()
        .filter(|point| point[1].as_u64() < Some(100_000_000))
        .filter_map(|point| point[0].as_f64())
        .fold(0.0, f64::max);
    let count = report["answered"].as_f64().context("no count")? * (1.0 - slow);
    ensure!(count >= 15.0, "{count} slow requests: {report}");
    lab::wait_healthy()
}

fn shapes() -> Result<()> {
    let listed = ask(&[], "/v1/shapes")?;
    for shape in listed.as_array().context("no list")? {
        let name = shape["name"].as_str().context("no name")?;
        let report = with_load(name, || {
            // Whatever the shape is, the first journeys end within seconds.
            wait::until_true(Duration::from_secs(60), "journeys end", || {
                Ok(answered()? > 60)
            })
        })
        .with_context(|| name.to_owned())?;
        let failed: u64 = report["journeys"]
            .as_array()
            .context("no journeys")?
            .iter()
            .filter_map(|journey| journey["failed"].as_u64())
            .sum();
        ensure!(failed == 0, "{name}: {}", report["endpoints"]);
    }
    Ok(())
}

fn stopped() -> Result<()> {
    begin(READING)?;
    wait::until_true(wait::SOON, "there are answers", || Ok(answered()? > 20))?;
    let requests = || -> Result<f64> {
        let text = http::curl(&["http://127.0.0.1:8001/metrics"])?.body;
        lab::metric(
            &text,
            "http_server_request_duration_seconds_count",
            &["/products/{sku}"],
        )
        .context("the gateway has no such metric")
    };
    systemd::stop(LOADGEN)?;
    let before = requests()?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(requests()? == before, "there is still load");
    systemd::start(LOADGEN)?;
    wait::until_true(wait::SOON, "it answers again", || {
        Ok(ask(&[], "/v1/load").is_ok_and(|status| status["phase"] == "idle"))
    })
}
