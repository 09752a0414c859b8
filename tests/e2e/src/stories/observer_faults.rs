//! Faults as the observer tells them: each moves its own signal, on its own unit.

use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::observer::{ask, count, drops, read, visit};
use crate::{
    command, figures,
    http::curl,
    lab::{self, API_1, API_2, CTL, GATEWAY, INVENTORY, OBSERVER, POSTGRESQL},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
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
    ]
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
