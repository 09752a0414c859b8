//! What the observer tells of a unit while somebody asks for it: system calls, sleeps, everything one by one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::observer::{ask, read};
use crate::{
    command, figures,
    http::curl,
    lab::{self, CTL, INVENTORY, SHOP},
    story::test,
    wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "observer::system_calls_are_those_that_strace_counts",
            syscalls,
        ),
        test("observer::sleeps_are_told_by_what_they_wait_for", sleeps),
        test(
            "observer::a_unit_is_traced_for_as_long_as_somebody_looks",
            traced,
        ),
    ]
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
