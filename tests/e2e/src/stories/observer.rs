//! `observastack-observer`: what the kernel sees of each unit, and who is told. Its stories of faults and of what is on demand are beside it.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    command, figures,
    http::{self, curl},
    lab::{self, API_1, CTL, GATEWAY, INVENTORY, OBSERVER, POSTGRESQL, SHOP, SUT_UNITS, WORKER},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("observer::every_unit_is_told_to_everybody", told),
        test(
            "observer::killed_or_stopped_it_changes_nothing_for_the_shop",
            gone,
        ),
        test("observer::what_makes_no_sense_is_refused", refusals),
    ]
}

/// Asks the observer.
pub(super) fn ask(arguments: &[&str], path: &str) -> Result<Value> {
    http::ask(lab::OBSERVER_SOCKET, arguments, path)
}

/// A reading of every unit.
pub(super) fn read() -> Result<Value> {
    Ok(ask(&[], "/v1/kernel")?["units"].clone())
}

/// A count of a unit.
pub(super) fn count(reading: &Value, unit: &str, name: &str) -> Result<u64> {
    reading[unit][name]
        .as_u64()
        .with_context(|| format!("{unit} has no {name}: {}", reading[unit]))
}

/// How many durations a unit has.
fn durations(reading: &Value, unit: &str, name: &str) -> Result<u64> {
    let buckets = reading[unit][name]["buckets"].as_array();
    let buckets = buckets.with_context(|| format!("{unit} has no {name}"))?;
    Ok(buckets.iter().filter_map(Value::as_u64).sum())
}

/// Packets of a unit that were thrown away for a reason.
pub(super) fn drops(reading: &Value, unit: &str, reason: &str) -> u64 {
    reading[unit]["packet_drops"][reason].as_u64().unwrap_or(0)
}

/// Requests that go through the whole shop, to both API servers.
pub(super) fn visit(times: u32) -> Result<()> {
    for number in 0..times {
        let _ = curl(&[
            "--max-time",
            "20",
            &format!("{SHOP}/products/P{:05}", number % 50 + 1),
        ])?;
    }
    Ok(())
}

fn told() -> Result<()> {
    let before = read()?;
    visit(60)?;
    let body = lab::order("P00003", 1);
    http::curl(&["--json", &body, &format!("{SHOP}/orders")])?;
    let after = read()?;
    for unit in SUT_UNITS {
        let waits = durations(&after, unit, "run_queue")? - durations(&before, unit, "run_queue")?;
        // The worker looks into its queue a few times a second, and no request of these reaches it.
        let least = if unit == WORKER { 0 } else { 10 };
        ensure!(waits > least, "{unit} waited for a CPU {waits} times");
    }
    // The gateway's connections to the API servers, and PostgreSQL's WAL.
    ensure!(
        durations(&after, GATEWAY, "tcp_connect")? > 0,
        "no connection"
    );
    ensure!(durations(&after, GATEWAY, "tcp_rtt")? > 0, "no round trip");
    let listens = |unit: &str, port: u64| {
        let listeners = after[unit]["listeners"].as_array();
        listeners.is_some_and(|all| all.iter().any(|one| one["port"] == port))
    };
    for (unit, port) in [
        (GATEWAY, 8000),
        (API_1, 8101),
        (INVENTORY, 8200),
        (WORKER, 8300),
        (POSTGRESQL, 5440),
    ] {
        ensure!(
            listens(unit, port),
            "{unit} on {port}: {}",
            after[unit]["listeners"]
        );
    }
    let flushes = after[POSTGRESQL]["block_io"].as_array();
    figures::note(format!(
        "PostgreSQL's block I/O here: {} kinds",
        flushes.map_or(0, Vec::len)
    ));
    // Prometheus has it.
    let query = "observastack_run_queue_latency_seconds_count{unit=\"observastack-api@2.service\"}";
    wait::until_true(wait::SOON, "Prometheus has it", || {
        let url = format!(
            "http://127.0.0.1:9190/api/v1/query?query={}",
            encoded(query)
        );
        let answer: Value = serde_json::from_str(&curl(&[&url])?.body)?;
        Ok(answer["data"]["result"]
            .as_array()
            .is_some_and(|all| all.len() == 1))
    })?;
    // The collector is sent it every ten seconds.
    wait::until_true(wait::SOON, "the collector has it", || {
        let ours = curl(&["http://127.0.0.1:8306/metrics"])?.body;
        let sent = lab::metric(
            &ours,
            "observastack_observer_metric_exports_total",
            &["sent"],
        );
        let theirs = curl(&["http://127.0.0.1:8304/metrics"])?.body;
        let taken = lab::metric(
            &theirs,
            "observastack_collector_accepted_items_total",
            &["metrics"],
        );
        Ok(sent >= Some(1.0) && taken >= Some(100.0))
    })?;
    // People have it.
    let ran = command::run(&[CTL, "top", "--once", "--interval", "500ms"])?;
    ran.expect(0)?;
    ensure!(
        ran.stdout.starts_with("UNIT")
            && ran.stdout.contains("api@1")
            && ran.stdout.contains("postgresql"),
        "{}",
        ran.stdout
    );
    let probes = lab::ctl(&["probes"])?;
    for probe in probes["probes"].as_array().context("no probes")? {
        let always_on = probe["always_on"] == true;
        let expected = always_on && probe["refusal"].is_null();
        ensure!(probe["on"] == expected, "{probe}");
        // What is counted by programs works on every kernel; what is read from files needs the controllers.
        let by_files = probe["programs"] == json!([]);
        ensure!(by_files || probe["refusal"].is_null(), "{probe}");
    }
    let of_name = |name: &str| {
        let probes = probes["probes"].as_array()?;
        probes.iter().find(|probe| probe["name"] == name)
    };
    for name in ["profile", "kernel-symbols"] {
        let probe = of_name(name).with_context(|| format!("no {name}"))?;
        ensure!(probe["refusal"].is_null(), "{probe}");
    }
    for name in ["syscalls", "trace-tcp"] {
        let probe = of_name(name).with_context(|| format!("no {name}"))?;
        ensure!(probe["always_on"] == false, "{probe}");
    }
    let doctor = lab::doctor()?;
    ensure!(
        doctor["probes"].as_array().map_or(0, Vec::len) >= 11,
        "{doctor}"
    );
    let losses = ask(&[], "/v1/kernel")?["losses"].clone();
    ensure!(losses["cgroups"] == 0 && losses["series"] == 0, "{losses}");
    Ok(())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Programs of the observer that are loaded, as bpftool has them.
fn attached() -> Result<usize> {
    let text = command::output(&["bpftool", "link", "show"])?;
    Ok(text
        .lines()
        .filter(|line| line.contains("sched_switch") || line.contains("tp 'sched_switch'"))
        .count())
}

fn gone() -> Result<()> {
    let running = attached()?;
    ensure!(
        running >= 1,
        "bpftool does not show the observer's programs"
    );
    for how in ["kill", "stop", "freeze"] {
        match how {
            "kill" => {
                systemd::stop(OBSERVER)?;
                command::output(&["systemctl", "start", OBSERVER])?;
                command::output(&["systemctl", "kill", "--signal=KILL", OBSERVER])?;
            }
            "stop" => systemd::stop(OBSERVER)?,
            _ => drop(command::output(&[
                "systemctl",
                "kill",
                "--signal=STOP",
                OBSERVER,
            ])?),
        }
        for number in 1..30 {
            let answer = curl(&["--max-time", "5", &format!("{SHOP}/products/P{number:05}")])?;
            ensure!(answer.status == 200, "{how}: {}", answer.status);
        }
        if how == "stop" {
            ensure!(
                attached()? == running - 1,
                "its programs are still attached"
            );
        }
        command::output(&["systemctl", "kill", "--signal=CONT", OBSERVER]).ok();
        systemd::start(OBSERVER)?;
        wait::until_true(wait::SOON, "it answers again", || {
            Ok(read()?[API_1].is_object())
        })
        .with_context(|| how.to_owned())?;
    }
    ensure!(
        attached()? == running,
        "its programs are not attached again"
    );
    Ok(())
}

fn refusals() -> Result<()> {
    for (words, code, said) in [
        (&["probes", "on", "cpu"][..], 1, "there is no probe `cpu`"),
        (&["probes", "off", "Run Queue"], 2, "no probe's name"),
        (
            &["syscalls", "--unit", "nobody.service"],
            2,
            "no unit `nobody.service` is known",
        ),
        (
            &["syscalls", "--unit", "api@1", "--for", "soon"],
            2,
            "--for",
        ),
        (&["top", "--interval", "1ms"], 2, "from 100ms to 1h"),
    ] {
        let ran = command::run(&[&[CTL], words].concat())?;
        ensure!(
            ran.code == code && format!("{}{}", ran.stdout, ran.stderr).contains(said),
            "{words:?}: exit {}, {}{}",
            ran.code,
            ran.stdout,
            ran.stderr
        );
    }
    // Nothing was changed by it.
    let probes = lab::ctl(&["probes"])?;
    let all = probes["probes"].as_array().context("no probes")?;
    ensure!(
        all.iter()
            .any(|probe| probe["name"] == "run-queue" && probe["on"] == true),
        "{probes}"
    );
    // Off, and on again.
    let state = |list: &Value| -> Option<bool> {
        let all = list["probes"].as_array()?;
        all.iter().find(|probe| probe["name"] == "tcp-rtt")?["on"].as_bool()
    };
    ensure!(
        state(&lab::ctl(&["probes", "off", "tcp-rtt"])?) == Some(false),
        "still on"
    );
    ensure!(
        state(&lab::ctl(&["probes", "on", "tcp-rtt"])?) == Some(true),
        "still off"
    );
    Ok(())
}
