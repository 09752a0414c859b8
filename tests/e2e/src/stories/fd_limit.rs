//! `fd-limit`: a unit that runs out of descriptors, as the kernel shows the limit and the unit meets it; where the machine
//! keeps the capability from its root, a refusal that says so.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::{EMFILE, TcpSink},
    command, ends,
    lab::{self, API_2, INJECTOR},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "fd_limit::accept_fails_with_emfile_and_works_again_afterwards",
            runs_out,
        ),
        test("fd_limit::it_outlives_a_restart_of_its_unit", restarted),
        test("fd_limit::it_ends_in_every_way", every_way),
    ]
}

/// Connections in a listening socket's queue, as `ss` counts them.
fn unaccepted(port: u16) -> Result<u64> {
    let filter = format!("sport = :{port}");
    let line = command::output(&["ss", "-Hltn", &filter])?;
    let queued = line.split_whitespace().nth(1);
    Ok(queued.context("nobody listens")?.parse()?)
}

/// The soft limit of a unit's main process as the kernel shows it.
pub(super) fn soft(unit: &str) -> Result<u64> {
    let process = lab::main_process(unit)?.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    Ok(soft.context("no limit of descriptors")?.parse()?)
}

/// Few enough for a small server to run out of.
const FEW: u64 = 12;

fn inject(unit: &str, limit: u64, held: &str) -> Result<u64> {
    let limit = limit.to_string();
    lab::inject(&["fd-limit", "--unit", unit, "--limit", &limit, "--for", held])
}

/// Where root is not given CAP_SYS_RESOURCE, the fault is refused for that reason and nothing changes: all that can be
/// told here. True where it was.
fn is_refused() -> Result<bool> {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string(format!(
        "/proc/{}/status",
        lab::main_process(INJECTOR)?.as_raw_nonzero()
    ))?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = u64::from_str_radix(line.context("no CapEff")?.trim(), 16)?;
    if held & CAP_SYS_RESOURCE != 0 {
        return Ok(false);
    }
    let before = soft(API_2)?;
    let ran = lab::ctl_ran(&[
        "inject", "fd-limit", "--unit", API_2, "--limit", "12", "--for", "10m",
    ])?;
    ran.expect(1)?;
    ran.says(&["CAP_SYS_RESOURCE", "doctor"])?;
    ensure!(soft(API_2)? == before, "the limit has changed");
    ensure!(
        lab::faults()?
            .iter()
            .all(|fault| fault["state"] != "active"),
        "the refused fault is active"
    );
    Ok(true)
}

fn runs_out() -> Result<()> {
    if is_refused()? {
        return Ok(());
    }
    let (sink, bystander) = (
        TcpSink::start("descriptors", 9874)?,
        TcpSink::start("descriptors-bystander", 9875)?,
    );
    let before = soft(&sink.unit())?;
    let id = inject(&sink.unit(), FEW, "10m")?;
    ensure!(soft(&sink.unit())? == FEW, "{}", soft(&sink.unit())?);
    let patience = Duration::from_secs(20);
    let streams: std::io::Result<Vec<_>> = (0..20).map(|_| sink.connect(patience)).collect();
    let streams = streams?;
    // The sink itself can't be asked now: that is one descriptor more.
    wait::until_true(wait::SOON, "connections wait to be accepted", || {
        Ok(unaccepted(9874)? >= 20 - FEW)
    })?;
    ensure!(
        bystander.takes(1_000, patience)? && soft(&bystander.unit())? == before,
        "the bystander is limited"
    );
    lab::clear(id)?;
    ensure!(soft(&sink.unit())? == before, "{}", soft(&sink.unit())?);
    wait::until_true(wait::SOON, "everybody is let in", || {
        Ok(sink.seen()?.accepted == 20)
    })?;
    let errors = sink.seen()?.accept_errors;
    ensure!(
        errors.keys().eq(&[EMFILE]),
        "accept(2) failed with other errors, or not at all: {errors:?}"
    );
    drop(streams);
    Ok(())
}

fn restarted() -> Result<()> {
    if is_refused()? {
        return Ok(());
    }
    // With fewer it could not even start, which would be the fault's doing.
    const ENOUGH_TO_START: u64 = 100;
    let before = soft(API_2)?;
    let id = inject(API_2, ENOUGH_TO_START, "10m")?;
    systemd::restart(API_2)?;
    wait::until_true(wait::SOON, "the new process is limited", || {
        Ok(soft(API_2)? == ENOUGH_TO_START)
    })?;
    lab::clear(id)?;
    ensure!(soft(API_2)? == before, "{}", soft(API_2)?);
    Ok(())
}

fn every_way() -> Result<()> {
    if is_refused()? {
        return Ok(());
    }
    let sink = TcpSink::start("descriptors-ends", 9876)?;
    let unit = sink.unit();
    ends::in_every_way(
        "fd-limit",
        ends::journalled(),
        |held| inject(&unit, FEW, held),
        || Ok(soft(&unit)? == FEW),
    )
}
