//! Everything that the kernel does not undo, in force at once, when the injector dies and when it hangs.
//!
//! One story for all of it: under emulation, a restarted injector has its programs verified for half a minute.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};

use super::{fd_limit, vm_disk};
use crate::{
    clock::{between, monotonic_ns},
    command, ends, figures,
    lab::{self, API_1, API_2, INJECTOR, INVENTORY, POSTGRESQL},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![test(
        "vm_everything_that_is_journalled_ends_with_a_dead_and_with_a_frozen_injector",
        all_at_once,
    )]
}

/// What each fault changes, as tools show it that we did not write: queue, CPU, memory, tasks, descriptors, disk, space.
fn state() -> Result<[String; 7]> {
    Ok([
        command::output(&["tc", "qdisc", "show"])?,
        systemd::property(API_1, "CPUQuotaPerSecUSec")?,
        systemd::property(INVENTORY, "MemoryMax")?,
        systemd::property(API_2, "TasksMax")?,
        fd_limit::soft(API_2)?.to_string(),
        vm_disk::table()?,
        vm_disk::fillers()?.to_string(),
    ])
}

fn inject_all(before: &[String; 7]) -> Result<()> {
    for words in [
        &["disk-fill", "--unit", POSTGRESQL, "--leave", "64MiB"][..],
        &["disk-delay", "--unit", POSTGRESQL, "--read", "5ms"],
        &["latency", "--unit", API_1, "--delay", "50ms"],
        &["cpu-quota", "--unit", API_1, "--quota", "50%"],
        &["memory-limit", "--unit", INVENTORY, "--limit", "256MiB"],
        &["tasks-limit", "--unit", API_2, "--limit", "40"],
        &["fd-limit", "--unit", API_2, "--limit", "100"],
    ] {
        lab::inject(&[words, &["--for", "10m"]].concat())?;
    }
    for (now, before) in state()?.iter().zip(before) {
        ensure!(now != before, "unchanged under its fault: {now}");
    }
    Ok(())
}

/// How long something of it was still seen.
fn gone(before: &[String; 7]) -> Result<std::time::Duration> {
    let since_ns = monotonic_ns();
    let mut last = std::time::Duration::ZERO;
    wait::until_true(wait::SOON, "all is as before", || {
        let began_ns = monotonic_ns();
        if state()? == *before {
            return Ok(true);
        }
        last = between(since_ns, began_ns);
        Ok(false)
    })?;
    Ok(last)
}

fn all_at_once() -> Result<()> {
    let before = state()?;
    inject_all(&before)?;
    let process = systemd::kill_9(INJECTOR)?;
    let dead = gone(&before).context("after kill -9")?;
    systemd::wait_restarted(INJECTOR, process)?;
    ensure!(lab::faults()?.is_empty(), "the new injector knows some");

    inject_all(&before)?;
    let process = lab::main_process(INJECTOR)?;
    kill_process(process, Signal::STOP)?;
    let frozen = gone(&before).context("after SIGSTOP")?;
    // Seven reverts may take longer under emulation than its watchdog waits for a process that stands still.
    match kill_process(process, Signal::CONT) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    wait::until_true(wait::SOON, "an injector answers", || {
        Ok(lab::ctl(&["faults"]).is_ok())
    })?;
    lab::ctl(&["clear", "--all"])?;
    figures::note(format!(
        "seven journalled faults at once were last seen {dead:?} after kill -9, {frozen:?} after SIGSTOP"
    ));
    // Seven times what one may take, one after the other.
    ensure!(
        dead <= ends::journalled() * 7 && frozen <= ends::journalled() * 7,
        "{dead:?} and {frozen:?}"
    );
    Ok(())
}
