//! `freeze`: a unit stands still, all the time or in pulses, and never for longer than somebody answers for it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::{TcpSink, UdpEcho},
    command, ends, figures,
    http::curl,
    lab::{self, API_1, API_2},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "freeze::a_frozen_service_hangs_while_the_kernel_goes_on_and_a_bystander_answers",
            hangs,
        ),
        test("freeze::pulses_keep_their_share_of_the_time", pulses),
        test(
            "freeze::a_unit_can_be_restarted_after_it_was_frozen",
            restarted,
        ),
        test("freeze::it_ends_in_every_way", every_way),
        test("freeze::pulses_end_in_every_way", pulses_every_way),
    ]
}

fn inject(unit: &str, held: &str, more: &[&str]) -> Result<u64> {
    let words = ["freeze", "--unit", unit, "--for", held];
    lab::inject(&[&words[..], more].concat())
}

/// Whether the kernel says that all of the unit's processes stand still.
fn is_frozen(unit: &str) -> Result<bool> {
    Ok(systemd::cgroup_value(unit, "cgroup.events", "frozen")? == 1)
}

fn hangs() -> Result<()> {
    let sink = TcpSink::start("frozen", 9880)?;
    let id = inject(API_1, "10m", &[])?;
    wait::until_true(wait::SOON, "the kernel says frozen", || is_frozen(API_1))?;
    ensure!(!is_frozen(API_2)?, "the bystander is frozen");
    let url = "http://127.0.0.1:8101/products?limit=1";
    // It connects, for the kernel does that; nobody answers.
    let ran = command::run(&[
        "curl",
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        "%{time_connect}",
        "--max-time",
        "1",
        url,
    ])?;
    ran.expect(28)?;
    let connected: f64 = ran.stdout.trim().parse()?;
    ensure!(
        connected > 0.0 && connected < 0.5,
        "connected after {connected} s"
    );
    curl(&["http://127.0.0.1:8102/products?limit=1"])?.expect(200)?;
    let ended = lab::clear(id)?;
    ensure!(!is_frozen(API_1)?, "frozen after it was cleared");
    ensure!(
        lab::count(&ended, "matched")? == 1 && lab::count(&ended, "injected")? == 1,
        "{ended}"
    );
    curl(&[url])?.expect(200)?;

    // What arrived meanwhile was kept by the kernel.
    let unit = sink.unit();
    let id = inject(&unit, "10m", &[])?;
    wait::until_true(wait::SOON, "the kernel says frozen", || is_frozen(&unit))?;
    ensure!(
        !sink.takes(1_000, Duration::from_millis(500))?,
        "a frozen unit has answered"
    );
    lab::clear(id)?;
    wait::until_true(wait::SOON, "it has read what was sent", || {
        Ok(sink.seen()?.bytes == 1_000)
    })
}

/// For how much of some seconds the unit was frozen, and how often that began.
fn watch(unit: &str, length: Duration) -> Result<(f64, u64)> {
    let path = systemd::cgroup(unit)?.join("cgroup.events");
    let (begun, mut frozen, mut pulses, mut last) = (Instant::now(), Duration::ZERO, 0, false);
    let mut looked = begun;
    while begun.elapsed() < length {
        let now = fs::read_to_string(&path)?.contains("frozen 1");
        let at = Instant::now();
        if last {
            frozen += at - looked;
        }
        pulses += u64::from(now && !last);
        (last, looked) = (now, at);
        thread::sleep(Duration::from_millis(1));
    }
    Ok((frozen.as_secs_f64() / begun.elapsed().as_secs_f64(), pulses))
}

fn pulses() -> Result<()> {
    let (echo, bystander) = (
        UdpEcho::start("pulses", 9881)?,
        UdpEcho::start("pulses-bystander", 9882)?,
    );
    let unit = echo.unit();
    for (period, frozen, share) in [("200ms", "50%", 0.5), ("500ms", "20%", 0.2)] {
        let id = inject(&unit, "10m", &["--period", period, "--frozen", frozen])?;
        let (seen, pulses) = watch(&unit, Duration::from_secs(5))?;
        // A client meets a pulse as a late answer.
        let (mut slowest, mut other) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..60 {
            let asked = Instant::now();
            ensure!(
                echo.answers_within(Duration::from_secs(2))?,
                "no answer in 2 s"
            );
            slowest = slowest.max(asked.elapsed());
            let asked = Instant::now();
            ensure!(
                bystander.answers_within(Duration::from_secs(2))?,
                "the bystander gives no answer"
            );
            other = other.max(asked.elapsed());
            thread::sleep(Duration::from_millis(15));
        }
        let ended = lab::clear(id)?;
        ensure!(!is_frozen(&unit)?, "frozen after it was cleared");
        figures::note(format!(
            "{frozen} of every {period}: frozen for {:.0} % in {pulses} pulses of 5 s; slowest answer {slowest:?}, a bystander's {other:?}",
            seen * 100.0
        ));
        ensure!(
            (share - 0.1..=share + 0.1).contains(&seen),
            "frozen for {seen} of the time instead of {share}"
        );
        ensure!(
            lab::count(&ended, "injected")? >= pulses,
            "{pulses} pulses were seen: {ended}"
        );
        ensure!(
            slowest >= Duration::from_millis(50) && other < slowest,
            "the slowest answer took {slowest:?}, the bystander's {other:?}"
        );
    }
    Ok(())
}

fn restarted() -> Result<()> {
    // A stop waits for whoever does not run; the fault's end lets it go on.
    let before = lab::main_process(API_2)?;
    inject(API_2, "3s", &[])?;
    wait::until_true(wait::SOON, "the kernel says frozen", || is_frozen(API_2))?;
    systemd::restart(API_2)?;
    ensure!(
        lab::main_process(API_2)? != before && !is_frozen(API_2)?,
        "not restarted, or frozen"
    );
    lab::wait_healthy()
}

fn every_way() -> Result<()> {
    ends::in_every_way(
        "freeze",
        ends::journalled(),
        |held| inject(API_2, held, &[]),
        || is_frozen(API_2),
    )
}

fn pulses_every_way() -> Result<()> {
    // Read without asking systemd each time: hundreds of looks, so that pulses are not missed by chance.
    let events = systemd::cgroup(API_2)?.join("cgroup.events");
    ends::in_every_way(
        "freeze in pulses",
        ends::journalled(),
        |held| inject(API_2, held, &["--period", "40ms"]),
        || {
            // A pulse begins every 40 ms, and later where the injector has to wait for a CPU: a gap between two is no end.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(500) {
                if fs::read_to_string(&events)?.contains("frozen 1") {
                    return Ok(true);
                }
                thread::sleep(Duration::from_millis(2));
            }
            Ok(false)
        },
    )
}
