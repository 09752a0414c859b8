//! `observastack-collector`: it dies, hangs and comes back, and nobody who sends to it minds.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};

use crate::{
    collector::{self, TraceId},
    command, figures,
    http::{curl, post},
    lab::{self, API_1, API_2, COLLECTOR, CTL, INVENTORY, SHOP},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "collector::kill_9_loses_no_trace_that_was_answered_for_and_the_store_opens",
            killed,
        ),
        test(
            "collector::kill_9_under_load_costs_the_last_second_at_most",
            killed_under_load,
        ),
        test(
            "collector::a_dead_and_a_frozen_collector_change_no_answer",
            away,
        ),
        test("collector::ctl_follows_the_logs_as_they_come", follows),
        test(
            "collector::a_unit_under_load_has_a_profile_with_its_functions",
            profiles,
        ),
        test("collector::a_fault_is_a_log_record", fault),
        test("collector::the_map_shows_who_calls_whom", map),
        test("collector::what_is_wrong_is_told", refused),
    ]
}

/// A request in a trace, answered.
fn request(trace: &TraceId) -> Result<()> {
    curl(&[
        "--header",
        &trace.header(),
        &format!("{SHOP}/products/P00001"),
    ])?
    .expect(200)
    .map(drop)
}

const PRODUCT: [(&str, &str); 2] = [
    ("gateway", "GET /products/{sku}"),
    ("api@", "GET /products/{sku}"),
];

fn killed() -> Result<()> {
    let mut traces = Vec::new();
    for _ in 0..20 {
        let trace = TraceId::new()?;
        request(&trace)?;
        traces.push(trace);
    }
    // The last of them is stored, so the others are.
    for trace in &traces {
        trace.whole(&PRODUCT)?;
    }
    let process = systemd::kill_9(COLLECTOR)?;
    // Sent meanwhile: kept by the senders until somebody takes it.
    let meanwhile = TraceId::new()?;
    request(&meanwhile)?;
    systemd::wait_restarted(COLLECTOR, process)?;
    for trace in traces.iter().chain([&meanwhile]) {
        trace.whole(&PRODUCT)?;
    }
    let text = curl(&["http://127.0.0.1:8304/metrics"])?.body;
    let stored = lab::metric(
        &text,
        "observastack_collector_stored_items_total",
        &["traces"],
    );
    ensure!(stored.is_some_and(|stored| stored > 0.0), "{stored:?}");
    Ok(())
}

fn killed_under_load() -> Result<()> {
    const REQUESTS: u32 = 100;
    const LAST: Duration = Duration::from_secs(1);
    let mut sent = Vec::new();
    for _ in 0..REQUESTS {
        let trace = TraceId::new()?;
        let at = Instant::now();
        request(&trace)?;
        sent.push((at, trace));
        thread::sleep(Duration::from_millis(20));
    }
    let killed = Instant::now();
    let process = systemd::kill_9(COLLECTOR)?;
    systemd::wait_restarted(COLLECTOR, process)?;
    let after = TraceId::new()?;
    request(&after)?;
    // The senders have told what they had kept before.
    after.whole(&PRODUCT)?;
    let mut missing = Vec::new();
    for (at, trace) in &sent {
        let spans = trace.spans()?;
        let is_whole = collector::is_whole(&spans).is_ok() && spans.len() >= PRODUCT.len();
        if !is_whole {
            missing.push(killed.saturating_duration_since(*at));
        }
    }
    let oldest = missing.iter().max().copied().unwrap_or_default();
    figures::note(format!(
        "kill -9 of the collector: {} of {REQUESTS} traces are not whole, the oldest began {oldest:?} before it",
        missing.len()
    ));
    ensure!(oldest <= LAST, "{missing:?}");
    Ok(())
}

fn away() -> Result<()> {
    const REQUESTS: u32 = 200;
    let all_answered = |when: &str| -> Result<()> {
        for _ in 0..REQUESTS {
            curl(&[&format!("{SHOP}/products/P00001")])?
                .expect(200)
                .with_context(|| when.to_owned())?;
        }
        post(&format!("{SHOP}/orders"), &lab::order("P00002", 1))?
            .expect(201)
            .map(drop)
            .with_context(|| when.to_owned())
    };
    systemd::stop(COLLECTOR)?;
    all_answered("while the collector is dead")?;
    // A service can be stopped and started without it, and soon.
    systemd::restart(API_1)?;
    systemd::start(COLLECTOR)?;
    let process = lab::main_process(COLLECTOR)?;
    kill_process(process, Signal::STOP)?;
    all_answered("while the collector is frozen")?;
    kill_process(process, Signal::CONT)?;
    lab::wait_healthy()?;
    let trace = TraceId::new()?;
    request(&trace)?;
    trace.whole(&PRODUCT).map(drop)
}

fn follows() -> Result<()> {
    let mut child = Command::new("timeout")
        // The access log has lines with `/orders` too, of the recorded ones.
        .args(["60", CTL, "logs", "-f", "--limit", "0", "order placed"])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("no output")?;
    let (told, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    // It may not listen yet at the first ones.
    let line = wait::until(wait::SOON, "an order is shown as it comes", || {
        post(&format!("{SHOP}/orders"), &lab::order("P00002", 1))?.expect(201)?;
        Ok(lines.recv_timeout(Duration::from_secs(2)).ok())
    });
    child.kill()?;
    child.wait()?;
    let line = line?;
    ensure!(
        line.contains("order placed") && line.contains("trace="),
        "{line}"
    );
    Ok(())
}

fn profiles() -> Result<()> {
    // A report computes: that is what a profile shows.
    let (shown, folded) = wait::until(wait::SOON, "both API servers have profiles", || {
        for port in [8101, 8102] {
            for _ in 0..20 {
                curl(&[&format!("http://127.0.0.1:{port}/products?limit=100")])?.expect(200)?;
            }
        }
        let mut shown = Vec::new();
        for unit in [API_1, API_2] {
            let ran = command::run(&[CTL, "profile", unit, "--since", "5m", "--top", "200"])?;
            ran.expect(0)?;
            ensure!(!ran.stdout.contains("no profiles"), "{}", ran.stdout);
            shown.push(ran.stdout);
        }
        let has =
            |shown: &String| shown.contains("observastack_api::") || shown.contains("tokio::");
        let folded = command::output(&[CTL, "profile", "api@1", "--since", "5m", "--folded"])?;
        // A lab that was just installed has few samples yet.
        let is_enough = folded.lines().count() > 3 && shown.iter().all(has);
        Ok(is_enough.then_some((shown, folded)))
    })?;
    let heading = shown[0].lines().next().unwrap_or_default().to_owned();
    figures::note(format!("api@1: {heading}"));
    let is_stack = |line: &str| {
        line.rsplit_once(' ')
            .is_some_and(|(stack, weight)| !stack.is_empty() && weight.parse::<u64>().is_ok())
    };
    ensure!(folded.lines().all(is_stack), "{folded}");
    Ok(())
}

fn fault() -> Result<()> {
    let share = ["--probability", "1%", "--for", "20s"];
    let id = lab::inject(&[&["packet-loss", "--unit", INVENTORY][..], &share].concat())?;
    lab::clear(id)?;
    let words = [CTL, "logs", "--unit", "observastack-injector.service"];
    for said in [
        format!("fault {id} injected: packet-loss"),
        format!("fault {id} cleared"),
    ] {
        wait::until_true(wait::SOON, "the collector has it", || {
            let logs = command::run(&[&words[..], &["--since", "5m", &said]].concat())?;
            logs.expect(0)?;
            Ok(logs.stdout.contains(&said))
        })?;
    }
    Ok(())
}

fn map() -> Result<()> {
    post(&format!("{SHOP}/orders"), &lab::order("P00002", 1))?.expect(201)?;
    wait::until_true(wait::SOON, "the map has all calls", || {
        let map = collector::ask("map")?;
        let has = |from: &str, to: &str| {
            map["edges"].as_array().is_some_and(|calls| {
                calls
                    .iter()
                    .any(|call| call["client"] == from && call["server"] == to)
            })
        };
        ensure!(
            has("observastack-gateway", "observastack-api")
                && has("observastack-api", "observastack-inventory")
                && has("observastack-api", "postgresql")
                && has("observastack-inventory", "postgresql"),
            "{map}"
        );
        Ok(true)
    })
}

fn refused() -> Result<()> {
    for (words, said) in [
        (&["logs", "--level", "loud"][..], "expected: trace, debug"),
        (&["logs", "--since", "yesterday"], "RFC 3339"),
        (&["traces", "--attribute", "novalue"], "KEY=VALUE"),
        (&["traces", "--limit", "0"], "use 1 or more"),
        (&["trace", "abc"], "32 hexadecimal digits"),
    ] {
        let ran = command::run(&[&[CTL], words].concat())?;
        ran.expect(2)?;
        ran.says(&[said])?;
    }
    let unknown = "0123456789abcdef0123456789abcdef";
    let ran = command::run(&[CTL, "trace", unknown])?;
    ran.expect(1)?;
    ran.says(&["is not here"])?;
    let elsewhere = ["--collector", "127.0.0.1:9", "logs"];
    let ran = command::run(&[&[CTL][..], &elsewhere].concat())?;
    ran.expect(1)?;
    ran.says(&["nobody listens on 127.0.0.1:9", "observastack-collector"])
}
