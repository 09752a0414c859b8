//! `observastack-observer`: what the kernel sees of each unit, and that each fault moves its own signal, on its own unit.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    command, figures,
    http::{self, curl},
    lab::{self, API_1, API_2, CTL, GATEWAY, INVENTORY, OBSERVER, POSTGRESQL, SHOP, SUT_UNITS},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("observer::every_unit_is_told_to_everybody", told),
        test(
            "observer::packet_loss_moves_drops_of_its_unit_and_retransmissions_of_its_peers",
            packet_loss,
        ),
        test("observer::a_reset_is_told_on_both_sides", reset),
        test(
            "observer::a_connect_error_is_a_failed_system_call_of_its_unit",
            connect_error,
        ),
        test(
            "observer::a_frozen_unit_lets_connections_wait_in_its_own_queue",
            freeze,
        ),
        test(
            "observer::a_killed_unit_is_told_with_its_signal_and_keeps_its_counts",
            killed,
        ),
        test(
            "observer::system_calls_are_those_that_strace_counts",
            syscalls,
        ),
        test(
            "observer::killed_or_stopped_it_changes_nothing_for_the_shop",
            gone,
        ),
        test(
            "observer::a_unit_is_traced_for_as_long_as_somebody_looks",
            traced,
        ),
        test("observer::sleeps_are_told_by_what_they_wait_for", sleeps),
        test("observer::what_makes_no_sense_is_refused", refusals),
    ]
}

/// Asks the observer.
fn ask(arguments: &[&str], path: &str) -> Result<Value> {
    let url = format!("http://observer{path}");
    let fixed = [
        "curl",
        "--silent",
        "--show-error",
        "--fail-with-body",
        "--max-time",
        "30",
        "--unix-socket",
        lab::OBSERVER_SOCKET,
    ];
    let text = command::output(&[&fixed[..], arguments, &[&url]].concat())?;
    serde_json::from_str(&text).with_context(|| text)
}

/// A reading of every unit.
pub(super) fn read() -> Result<Value> {
    Ok(ask(&[], "/v1/kernel")?["units"].clone())
}

/// A count of a unit.
fn count(reading: &Value, unit: &str, name: &str) -> Result<u64> {
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
fn drops(reading: &Value, unit: &str, reason: &str) -> u64 {
    reading[unit]["packet_drops"][reason].as_u64().unwrap_or(0)
}

/// Requests that go through the whole shop, to both API servers.
fn visit(times: u32) -> Result<()> {
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
        ensure!(waits > 10, "{unit} waited for a CPU {waits} times");
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
        let on_demand = probe["name"] == "syscalls" || probe["name"] == "trace-tcp";
        let expected = !on_demand && probe["refusal"].is_null();
        ensure!(probe["on"] == expected, "{probe}");
        // What is counted by programs works on every kernel; what is read from files needs the controllers.
        let by_files = probe["programs"] == json!([]);
        ensure!(by_files || probe["refusal"].is_null(), "{probe}");
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

fn packet_loss() -> Result<()> {
    let before = read()?;
    let id = lab::inject(&[
        "packet-loss",
        "--unit",
        API_1,
        "--direction",
        "in",
        "--probability",
        "20%",
        "--seed",
        "3",
        "--for",
        "5m",
    ])?;
    visit(60)?;
    let ended = lab::clear(id)?;
    let injected = lab::count(&ended, "injected")?;
    let after = read()?;
    let grown =
        |unit: &str| drops(&after, unit, "socket_filter") - drops(&before, unit, "socket_filter");
    // A packet to a connection that is not one yet, or no longer, may be nobody's.
    let nobodys = grown("other");
    figures::note(format!(
        "{injected} dropped, {} told, and {nobodys} of nobody",
        grown(API_1)
    ));
    ensure!(
        injected > 0 && grown(API_1) <= injected && grown(API_1) * 10 >= injected * 9,
        "{} told, {nobodys} of nobody, {injected} injected",
        grown(API_1)
    );
    for unit in [API_2, GATEWAY, INVENTORY, POSTGRESQL] {
        ensure!(grown(unit) == 0, "{unit}: {} drops", grown(unit));
    }
    let resent = |unit: &str| -> Result<u64> {
        Ok(count(&after, unit, "tcp_retransmits")? - count(&before, unit, "tcp_retransmits")?)
    };
    // Whoever talks to api@1 sends again: the gateway its requests, inventory and PostgreSQL their answers, and api@1 itself what
    // nobody's acknowledgement came for.
    let mut all = 0;
    for unit in [GATEWAY, INVENTORY, POSTGRESQL, API_1] {
        all += resent(unit)?;
    }
    figures::note(format!("{injected} drops, {all} segments sent again"));
    ensure!(resent(GATEWAY)? > 0, "the gateway sent nothing again");
    ensure!(resent(API_2)? == 0, "api@2 sent {} again", resent(API_2)?);
    Ok(())
}

fn reset() -> Result<()> {
    visit(20)?;
    let before = read()?;
    let id = lab::inject(&["reset", "--unit", INVENTORY, "--for", "5m"])?;
    // Each connection to it, and its own to the database.
    wait::until_true(wait::SOON, "its connections are reset", || {
        Ok(lab::count(&lab::fault(id)?, "injected")? > 0)
    })?;
    let injected = lab::count(&lab::clear(id)?, "injected")?;
    let after = read()?;
    let grown = |unit: &str, name: &str| -> Result<u64> {
        Ok(count(&after, unit, name)? - count(&before, unit, name)?)
    };
    let sent = grown(INVENTORY, "tcp_resets_sent")?;
    let mut received = 0;
    for unit in [API_1, API_2, POSTGRESQL, GATEWAY] {
        received += grown(unit, "tcp_resets_received")?;
    }
    figures::note(format!(
        "{injected} destroyed, {sent} sent, {received} received by units"
    ));
    ensure!(sent >= injected, "{sent} resets of {injected}");
    ensure!(received > 0, "nobody has received one");
    ensure!(
        grown(GATEWAY, "tcp_resets_sent")? == 0,
        "the gateway sent some"
    );
    Ok(())
}

fn connect_error() -> Result<()> {
    let counted = |unit: &str, body: &dyn Fn() -> Result<()>| -> Result<Value> {
        let path = format!("/v1/syscalls/{unit}");
        let switch = |on: bool| {
            ask(
                &["-X", "PUT", "--json", &json!({"on": on}).to_string()],
                &path,
            )
        };
        switch(true)?;
        let done = body();
        let reading = read();
        switch(false)?;
        done?;
        reading
    };
    // A connection is made when the ones that there were are gone.
    let id = lab::inject(&[
        "connect-error",
        "--unit",
        API_1,
        "--errno",
        "ECONNREFUSED",
        "--for",
        "5m",
    ])?;
    let reading = counted(API_1, &|| {
        systemd::restart(INVENTORY)?;
        wait::until_true(wait::SOON, "the fault was met", || {
            let body = lab::order("P00004", 1);
            let _ = curl(&[
                "--max-time",
                "5",
                "--json",
                &body,
                "http://127.0.0.1:8101/orders",
            ]);
            Ok(lab::count(&lab::fault(id)?, "injected")? > 0)
        })
    })?;
    lab::clear(id)?;
    let calls = reading[API_1]["syscalls"].as_array().context("no calls")?;
    let connect = calls.iter().find(|call| call["name"] == "connect");
    let connect = connect.with_context(|| format!("no connect in {calls:?}"))?;
    ensure!(
        connect["errors"]["ECONNREFUSED"].as_u64() >= Some(1),
        "{connect}"
    );
    for unit in [API_2, GATEWAY] {
        ensure!(
            reading[unit]["syscalls"] == json!([]),
            "{unit} was not asked for: {}",
            reading[unit]["syscalls"]
        );
    }
    let probes = lab::ctl(&["probes"])?;
    let all = probes["probes"].as_array().context("no probes")?;
    let probe = all.iter().find(|probe| probe["name"] == "syscalls");
    ensure!(
        probe.is_some_and(|probe| probe["on"] == false),
        "still on: {probe:?}"
    );
    Ok(())
}

fn freeze() -> Result<()> {
    const CONNECTIONS: usize = 5;
    let waiting = |port: u64| -> Result<u64> {
        let reading = read()?;
        let mut sum = 0;
        for unit in [API_1, API_2] {
            for listener in reading[unit]["listeners"].as_array().into_iter().flatten() {
                if listener["port"] == port {
                    sum += listener["waiting"].as_u64().unwrap_or(0);
                }
            }
        }
        Ok(sum)
    };
    let id = lab::inject(&["freeze", "--unit", API_1, "--for", "1m"])?;
    let streams: std::io::Result<Vec<TcpStream>> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect("127.0.0.1:8101"))
        .collect();
    let streams = streams?;
    wait::until_true(wait::SOON, "they wait in the queue", || {
        Ok(waiting(8101)? >= CONNECTIONS as u64)
    })?;
    // As ss has it.
    let queue = command::output(&["ss", "-Hltn", "sport = :8101"])?;
    let seen: u64 = queue
        .split_whitespace()
        .nth(1)
        .context("no Recv-Q")?
        .parse()?;
    ensure!(seen >= CONNECTIONS as u64, "{queue}");
    ensure!(waiting(8102)? == 0, "the other instance's queue");
    lab::clear(id)?;
    drop(streams);
    wait::until_true(wait::SOON, "the queue is empty again", || {
        Ok(waiting(8101)? == 0)
    })
}

fn killed() -> Result<()> {
    let before = read()?;
    let exits = |reading: &Value, unit: &str| count(reading, unit, "exits_by_signal");
    let execs = count(&before, API_2, "execs")?;
    command::output(&["systemctl", "kill", "--signal=KILL", API_2])?;
    wait::until_true(wait::SOON, "it is told", || {
        Ok(exits(&read()?, API_2)? > exits(&before, API_2)?)
    })?;
    lab::wait_healthy()?;
    let after = read()?;
    // systemd kills what it runs around the service at that moment, too, and helpers of its own before the next start.
    let ended = exits(&after, API_2)? - exits(&before, API_2)?;
    ensure!((1..=8).contains(&ended), "{ended} ends by a signal");
    ensure!(
        exits(&after, API_1)? == exits(&before, API_1)?,
        "another instance's"
    );
    // The next process has another cgroup, and the same unit's counts.
    ensure!(count(&after, API_2, "execs")? > execs, "counts begin anew");
    wait::until_true(wait::SOON, "the journal has it", || {
        let journal = command::output(&[
            "journalctl",
            "--no-pager",
            "--unit",
            OBSERVER,
            "--output=json",
            "--since=-2min",
        ])?;
        Ok(journal.lines().any(|line| {
            line.contains("process ended") && line.contains("SIGKILL") && line.contains(API_2)
        }))
    })?;
    wait::until_true(wait::SOON, "the collector has it", || {
        let logs = command::run(&[
            CTL, "logs", "process", "ended", "--unit", OBSERVER, "--since", "2m",
        ])?;
        Ok(logs.stdout.contains("process ended"))
    })
}

/// The same unit, counted by both at once under the same load: strace attaches to it, so it is slower, and no call differs.
fn syscalls() -> Result<()> {
    let process = lab::main_process(INVENTORY)?.as_raw_nonzero().to_string();
    let path = format!("/v1/syscalls/{INVENTORY}");
    ask(&["-X", "PUT", "--json", "{\"on\":true}"], &path)?;
    let before = read()?;
    let output = format!("{}/strace-calls.txt", crate::agents::DIRECTORY);
    let mut strace = std::process::Command::new("strace")
        .args([
            "-f",
            "-c",
            "-o",
            &output,
            "-e",
            "trace=sendto,recvfrom,writev",
        ])
        .args(["-p", &process])
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let body = lab::order("P00005", 1);
        let _ = curl(&[
            "--max-time",
            "20",
            "--json",
            &body,
            &format!("{SHOP}/orders"),
        ]);
    }
    command::output(&["kill", "-INT", &strace.id().to_string()])?;
    strace.wait()?;
    let after = read()?;
    ask(&["-X", "PUT", "--json", "{\"on\":false}"], &path)?;
    let text = std::fs::read_to_string(&output).context("strace has written nothing")?;
    let told = |reading: &Value, name: &str| -> u64 {
        let calls = reading[INVENTORY]["syscalls"].as_array();
        let mut calls = calls.into_iter().flatten();
        let call = calls.find(|call| call["name"] == name);
        let buckets = call.and_then(|call| call["times"]["buckets"].as_array().cloned());
        buckets.iter().flatten().filter_map(Value::as_u64).sum()
    };
    let mut compared = 0;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(name), Some(Ok(calls))) =
            (words.last(), words.get(3).map(|word| word.parse::<u64>()))
        else {
            continue;
        };
        if !["sendto", "recvfrom", "writev"].contains(name) || calls < 20 {
            continue;
        }
        let ours = told(&after, name) - told(&before, name);
        figures::note(format!("{name}: {ours} told, {calls} by strace"));
        // Strace comes a moment later and goes a moment earlier.
        ensure!(
            ours >= calls && ours <= calls * 3 / 2 + 50,
            "{name}: {ours} told, {calls} by strace"
        );
        compared += 1;
    }
    ensure!(compared > 0, "strace counted nothing: {text}");
    let ran = command::run(&[CTL, "syscalls", "--unit", "gateway", "--for", "1s"])?;
    ran.expect(0)?;
    ensure!(
        ran.stdout.contains("epoll_wait") || ran.stdout.contains("epoll_pwait"),
        "{}",
        ran.stdout
    );
    Ok(())
}

fn sleeps() -> Result<()> {
    let counted =
        std::thread::spawn(|| lab::ctl(&["off-cpu", "--unit", "postgresql", "--for", "3s"]));
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let body = lab::order("P00008", 1);
        let url = format!("{SHOP}/orders");
        curl(&["--max-time", "20", "--json", &body, &url])?;
    }
    let counted = counted.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    let sleeps = counted["sleeps"].as_array().context("no sleeps")?;
    let cause = |sleep: &Value| sleep["cause"].as_str().unwrap_or_default().to_owned();
    let causes: Vec<String> = sleeps.iter().map(cause).collect();
    figures::note(format!("PostgreSQL slept in {}", causes.join(", ")));
    // It waits for its clients, and for its log to be on the disk.
    ensure!(
        causes.iter().any(|cause| cause.starts_with("epoll_")),
        "{causes:?}"
    );
    ensure!(
        causes
            .iter()
            .any(|cause| cause == "fdatasync" || cause == "fsync"),
        "{causes:?}"
    );
    ensure!(
        counted["unit"] == "observastack-postgresql.service",
        "{counted}"
    );
    Ok(())
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

fn traced() -> Result<()> {
    let on = |name: &str| -> Result<bool> {
        let list = lab::ctl(&["probes"])?;
        let all = list["probes"].as_array().context("no probes")?;
        let probe = all.iter().find(|probe| probe["name"] == name);
        probe
            .and_then(|probe| probe["on"].as_bool())
            .with_context(|| format!("no {name}"))
    };
    let watched = |words: &'static [&'static str]| {
        std::thread::spawn(move || command::run(&[&[CTL, "trace"], words].concat()))
    };
    let both = [
        watched(&["syscalls", "--unit", "inventory", "-n", "20"]),
        watched(&["tcp", "--unit", "gateway", "--for", "3s"]),
        watched(&[
            "sched",
            "--unit",
            "api@1",
            "-n",
            "5",
            "--min-duration",
            "1ns",
        ]),
    ];
    wait::until_true(wait::SOON, "the probes are on", || {
        Ok(on("syscalls")? && on("trace-tcp")?)
    })?;
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        // The gateway has a new connection from each.
        let body = lab::order("P00007", 1);
        let url = format!("{SHOP}/orders");
        curl(&["--max-time", "20", "--json", &body, &url])?;
    }
    let mut said = Vec::new();
    for one in both {
        let ran = one.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        ran.expect(0)?;
        said.push(ran.stdout);
    }
    ensure!(said[0].lines().count() == 20, "{}", said[0]);
    ensure!(
        said[0].lines().all(|line| line.contains(") = ")),
        "{}",
        said[0]
    );
    ensure!(
        said[1].contains("127.0.0.1:8000 -> ") && said[1].contains(" -> ESTABLISHED"),
        "{}",
        said[1]
    );
    ensure!(
        said[2].lines().count() == 5 && said[2].contains(" after a wait of "),
        "{}",
        said[2]
    );
    wait::until_true(wait::SOON, "the probes are off again", || {
        Ok(!on("syscalls")? && !on("trace-tcp")? && on("run-queue")?)
    })
}
