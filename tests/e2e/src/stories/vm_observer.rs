//! Faults that need a stock kernel, as the observer tells them: on their unit, and on no other.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::{observer::read, observer_profile};
use crate::{
    command, figures,
    http::curl,
    lab::{self, API_1, API_2, POSTGRESQL, SHOP},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("vm_observer_tells_latency_as_round_trips", latency),
        test("vm_observer_tells_a_cpu_quota_as_throttling", cpu_quota),
        test(
            "vm_observer_tells_a_slow_disk_as_block_io_of_its_volume",
            disk_delay,
        ),
        test(
            "vm_observer_names_functions_of_a_program_and_of_the_kernel",
            observer_profile::on_cpu,
        ),
        test(
            "vm_observer_tells_a_memory_limit_as_kills_for_want_of_memory",
            memory_limit,
        ),
    ]
}

const LONG: &str = "10m";

/// How many durations there are, and their sum in milliseconds.
fn durations(times: &Value) -> Result<(u64, f64)> {
    let buckets = times["buckets"].as_array().context("no buckets")?;
    let sum_ns = times["sum_ns"].as_f64().context("no sum")?;
    Ok((buckets.iter().filter_map(Value::as_u64).sum(), sum_ns / 1e6))
}

/// The mean in milliseconds of what came between two readings, and how many there were.
fn mean_ms(before: &Value, after: &Value) -> Result<(f64, u64)> {
    let ((few, early), (many, late)) = (durations(before)?, durations(after)?);
    let count = many - few;
    ensure!(count > 0, "nothing came in between");
    Ok(((late - early) / count as f64, count))
}

fn latency() -> Result<()> {
    let visit = || -> Result<()> {
        for port in [8101, 8102] {
            for _ in 0..20 {
                curl(&[
                    "--max-time",
                    "60",
                    &format!("http://127.0.0.1:{port}/products?limit=3"),
                ])?;
            }
        }
        Ok(())
    };
    let id = lab::inject(&[
        "latency", "--unit", API_1, "--delay", "150ms", "--for", LONG,
    ])?;
    let before = read()?;
    visit()?;
    let after = read()?;
    lab::clear(id)?;
    let mean = |unit: &str| mean_ms(&before[unit]["tcp_rtt"], &after[unit]["tcp_rtt"]);
    let ((slow, of_slow), (fast, of_fast)) = (mean(API_1)?, mean(API_2)?);
    figures::note(format!(
        "round trips of {slow:.1} ms ({of_slow}) where 150 were added, of {fast:.1} ms ({of_fast}) beside it"
    ));
    ensure!(slow >= 100.0, "{slow:.1} ms");
    ensure!(fast < slow / 2.0, "{fast:.1} ms beside {slow:.1} ms");
    Ok(())
}

fn cpu_quota() -> Result<()> {
    // Without any limit there is no controller, and no figure.
    let throttled = |reading: &Value, unit: &str| {
        let periods = reading[unit]["cgroup"]["throttled_periods"].as_u64();
        periods.unwrap_or(0)
    };
    let before = read()?;
    let id = lab::inject(&[
        "cpu-quota",
        "--unit",
        API_1,
        "--quota",
        "20%",
        "--for",
        LONG,
    ])?;
    curl(&["--max-time", "120", "http://127.0.0.1:8101/report/sales"])?;
    let after = read()?;
    lab::clear(id)?;
    let periods = throttled(&after, API_1) - throttled(&before, API_1);
    let us = after[API_1]["cgroup"]["throttled_us"].as_u64();
    figures::note(format!("{periods} periods, {us:?} µs"));
    ensure!(periods > 0 && us > Some(0), "never throttled");
    ensure!(
        throttled(&after, API_2) == throttled(&before, API_2),
        "the other instance was throttled"
    );
    Ok(())
}

fn disk_delay() -> Result<()> {
    const DELAY_MS: f64 = 300.0;
    let written = |reading: &Value| {
        let all = reading[POSTGRESQL]["block_io"].as_array().cloned();
        let mut all = all.into_iter().flatten();
        all.find(|io| io["device"] == "observastack-data" && io["operation"] == "write")
            .map(|io| io["times"].clone())
    };
    let order = || {
        curl(&[
            "--max-time",
            "120",
            "--json",
            &lab::order("P00006", 1),
            &format!("{SHOP}/orders"),
        ])
    };
    // There is a first write before the slow ones.
    wait::until_true(wait::SOON, "writes are told", || {
        order()?;
        Ok(written(&read()?).is_some())
    })?;
    let before = written(&read()?).context("no writes")?;
    let id = lab::inject(&[
        "disk-delay",
        "--unit",
        POSTGRESQL,
        "--write",
        "300ms",
        "--for",
        LONG,
    ])?;
    let ordered = order();
    let after = written(&read()?).context("no writes");
    lab::clear(id)?;
    ordered?;
    let (mean, count) = mean_ms(&before, &after?)?;
    figures::note(format!("{count} writes of {mean:.0} ms"));
    // A write that was on its way when the fault came is among them at most.
    ensure!(mean >= DELAY_MS / 2.0, "{mean:.0} ms");
    Ok(())
}

fn memory_limit() -> Result<()> {
    let kills = |unit: &str| -> Result<u64> {
        let reading = read()?;
        reading[unit]["oom_kills"]
            .as_u64()
            .with_context(|| format!("{unit} is not told"))
    };
    let before = [kills(API_1)?, kills(API_2)?];
    let id = lab::inject(&[
        "memory-limit",
        "--unit",
        API_2,
        "--limit",
        "2MiB",
        "--for",
        LONG,
    ])?;
    let told = wait::until_true(wait::SOON, "the kill is told", || {
        // Nothing may need memory before something asks for it.
        let _ = command::run(&[
            "curl",
            "--silent",
            "--max-time",
            "2",
            "http://127.0.0.1:8102/products?limit=100",
        ]);
        Ok(kills(API_2)? > before[1])
    });
    lab::clear(id)?;
    told?;
    ensure!(kills(API_1)? == before[0], "the other instance's");
    // A start that was refused for coming too often is the operator's to repeat.
    command::run(&["systemctl", "reset-failed", API_2])?;
    systemd::start(API_2)?;
    lab::wait_healthy()
}
