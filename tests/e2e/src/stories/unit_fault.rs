//! `unit`: killed, restarted, stopped, as systemd tells it; and running again when the fault is over.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    ends,
    http::curl,
    journal,
    lab::{self, API_1, API_2, INVENTORY},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "unit::it_is_killed_by_the_signal_that_was_asked_for",
            killed,
        ),
        test("unit::it_is_restarted_as_often_as_is_counted", restarted),
        test(
            "unit::it_is_stopped_and_a_bystander_goes_on_and_it_is_started_at_the_end",
            stopped,
        ),
        test(
            "unit::a_unit_that_does_not_run_cannot_be_stopped",
            not_running,
        ),
        test("unit::a_stop_ends_in_every_way", every_way),
    ]
}

fn inject(unit: &str, action: &str, held: &str, more: &[&str]) -> Result<u64> {
    let words = ["unit", "--unit", unit, "--action", action, "--for", held];
    lab::inject(&[&words[..], more].concat())
}

fn killed() -> Result<()> {
    for (more, status) in [
        (&[][..], "status=9/KILL"),
        (&["--signal", "ABRT"], "status=6/ABRT"),
    ] {
        let (before, bystander) = (lab::main_process(INVENTORY)?, lab::main_process(API_2)?);
        let mark = journal::mark()?;
        let id = inject(INVENTORY, "kill", "10m", more)?;
        mark.wait_for(INVENTORY, "what has killed it", |record| {
            journal::message(record).contains(status)
        })?;
        systemd::wait_restarted(INVENTORY, before)?;
        let ended = lab::clear(id)?;
        ensure!(lab::count(&ended, "injected")? == 1, "{ended}");
        ensure!(
            lab::main_process(API_2)? == bystander,
            "the bystander was killed too"
        );
        lab::wait_healthy()?;
    }
    Ok(())
}

fn restarted() -> Result<()> {
    let mark = journal::mark()?;
    let before = lab::main_process(API_1)?;
    let id = inject(API_1, "restart", "10m", &["--interval", "2s"])?;
    wait::until_true(wait::SOON, "it was restarted three times", || {
        Ok(lab::count(&lab::fault(id)?, "injected")? >= 3)
    })?;
    let ended = lab::clear(id)?;
    let injected = lab::count(&ended, "injected")?;
    // Each restart begins with a stop, in systemd's words.
    wait::until_true(wait::SOON, "systemd tells as many restarts", || {
        let records = mark.records(API_1)?;
        let stops = records
            .iter()
            .filter(|record| journal::message(record).starts_with("Stopping "))
            .count();
        ensure!(stops as u64 == injected, "{stops} stops of {injected}");
        Ok(true)
    })?;
    wait::until_true(wait::SOON, "it runs again", || systemd::is_active(API_1))?;
    let process = lab::main_process(API_1)?;
    ensure!(process != before, "it was not restarted");
    // It is over: longer than an interval nothing happens.
    std::thread::sleep(Duration::from_millis(2_500));
    ensure!(
        lab::main_process(API_1)? == process,
        "restarted after the end"
    );
    Ok(())
}

fn stopped() -> Result<()> {
    let id = inject(API_1, "stop", "10m", &[])?;
    wait::until_true(wait::SOON, "it is stopped", || {
        Ok(systemd::property(API_1, "ActiveState")? == "inactive")
    })?;
    curl(&["http://127.0.0.1:8102/products?limit=1"])?.expect(200)?;
    ensure!(
        curl(&["--max-time", "2", "http://127.0.0.1:8101/products?limit=1"]).is_err(),
        "a stopped unit answers"
    );
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? == 1, "{ended}");
    wait::until_true(wait::SOON, "it runs again", || systemd::is_active(API_1))?;
    lab::wait_healthy()
}

fn not_running() -> Result<()> {
    systemd::stop(API_2)?;
    let ran = lab::ctl_ran(&[
        "inject", "unit", "--unit", API_2, "--action", "stop", "--for", "10s",
    ])?;
    ensure!(ran.code != 0, "{}", ran.stdout);
    ran.says(&[API_2, "inactive"])?;
    ensure!(!systemd::is_active(API_2)?, "the refusal has started it");
    Ok(())
}

fn every_way() -> Result<()> {
    // Noticed and told to systemd within 2 s; the start itself takes its time.
    ends::in_every_way(
        "a stopped unit",
        ends::journalled() + Duration::from_secs(1),
        |held| {
            wait::until_true(wait::SOON, "the unit runs", || systemd::is_active(API_2))?;
            inject(API_2, "stop", held, &[])
        },
        || {
            let state = systemd::property(API_2, "ActiveState")?;
            Ok(state != "active" && state != "activating")
        },
    )
}
