//! Crashes that the lab gets over without anybody's help.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};

use crate::{
    http::{curl, post},
    lab::{self, API_2, POSTGRESQL, SHOP},
    story::test,
    systemd,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "recovery::a_hung_service_is_restarted_by_the_watchdog",
            watchdog,
        ),
        test(
            "recovery::the_shop_survives_a_crash_of_its_database",
            database,
        ),
    ]
}

fn watchdog() -> Result<()> {
    // The unit's own watchdog allows 15 s: less to wait for.
    systemd::drop_in(API_2, "[Service]\nWatchdogSec=2s\n")?;
    systemd::restart(API_2)?;
    let process = lab::main_process(API_2)?;
    kill_process(process, Signal::STOP)?;
    systemd::wait_restarted(API_2, process)?;
    ensure!(
        systemd::property(API_2, "NRestarts")? == "1",
        "restarted {} times",
        systemd::property(API_2, "NRestarts")?
    );
    lab::wait_healthy()
}

fn database() -> Result<()> {
    let placed = post(&format!("{SHOP}/orders"), &lab::order("P00053", 1))?.expect(201)?;
    let id = placed["id"].as_i64().context("no id")?;
    let killed = systemd::kill_9(POSTGRESQL)?;
    systemd::wait_restarted(POSTGRESQL, killed)?;
    lab::wait_healthy()?;
    let read = curl(&[&format!("{SHOP}/orders/{id}")])?.expect(200)?;
    ensure!(
        read["total_cents"] == placed["total_cents"],
        "{read} is not {placed}"
    );
    post(&format!("{SHOP}/orders"), &lab::order("P00053", 1))?.expect(201)?;
    Ok(())
}
