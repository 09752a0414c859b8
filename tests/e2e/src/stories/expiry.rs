//! Every class of fault ends by itself: with nobody who follows it, with the injector frozen, and with nobody left but
//! systemd's timer.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};

use crate::{
    agents::ConnectProbe,
    clock::{between, monotonic_ns},
    command, figures,
    lab::{self, API_1, API_2, CTL, GUARD, INJECTOR, INVENTORY},
    machine,
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "expiry::each_class_ends_by_itself_with_the_ctl_dead",
            without_ctl,
        ),
        test(
            "expiry::each_class_ends_with_the_injector_frozen",
            without_injector,
        ),
        test(
            "expiry::systemds_timer_alone_reverts_when_injector_and_guard_hang",
            timer_alone,
        ),
    ]
}

/// One fault of each class, on units of their own: held by the kernel, kept up by work, journalled twice.
struct Classes {
    probe: ConnectProbe,
}

impl Classes {
    fn start(name: &str, port: u16) -> Result<Self> {
        Ok(Self {
            probe: ConnectProbe::start(name, port)?,
        })
    }

    fn inject(&self, held: &str) -> Result<Vec<u64>> {
        let unit = self.probe.unit();
        Ok(vec![
            lab::inject(&self.probe.fault(&unit, held))?,
            lab::inject(&[
                "cpu-stress",
                "--unit",
                API_1,
                "--workers",
                "1",
                "--load",
                "10%",
                "--for",
                held,
            ])?,
            lab::inject(&["freeze", "--unit", API_2, "--for", held])?,
            lab::inject(&[
                "unit", "--unit", INVENTORY, "--action", "stop", "--for", held,
            ])?,
        ])
    }

    /// Which of them still act.
    fn acting(&self) -> Result<Vec<&'static str>> {
        let loaded = systemd::processes(API_1)?.into_iter().any(machine::is_load);
        let frozen = systemd::cgroup_value(API_2, "cgroup.events", "frozen")? == 1;
        let state = systemd::property(INVENTORY, "ActiveState")?;
        let stopped = state != "active" && state != "activating";
        let all = [
            ("connect-error", self.probe.seen()?.now_faulted),
            ("cpu-stress", loaded),
            ("freeze", frozen),
            ("unit stop", stopped),
        ];
        Ok(all
            .into_iter()
            .filter_map(|(name, acts)| acts.then_some(name))
            .collect())
    }

    fn wait_all(&self) -> Result<()> {
        wait::until_true(wait::SOON, "all classes act", || {
            let acting = self.acting()?;
            ensure!(acting.len() == 4, "only {acting:?}");
            Ok(true)
        })
    }

    /// Waits until none acts; how long after `since_ns` each was seen last.
    fn wait_gone(&self, since_ns: u64) -> Result<Vec<(&'static str, Duration)>> {
        let mut last: Vec<(&'static str, Duration)> = Vec::new();
        wait::until_true(wait::SOON, "no class acts", || {
            let looked_ns = monotonic_ns();
            let acting = self.acting()?;
            for name in &acting {
                last.retain(|(known, _)| known != name);
                last.push((name, between(since_ns, looked_ns)));
            }
            ensure!(acting.is_empty(), "still {acting:?}");
            Ok(true)
        })?;
        Ok(last)
    }
}

fn expect(last: &[(&'static str, Duration)], limit: Duration, what: &str) -> Result<()> {
    figures::note(format!("{what}, last seen: {last:?}"));
    for (name, after) in last {
        ensure!(*after <= limit, "{what}: {name} acted for {after:?}");
    }
    Ok(())
}

fn without_ctl() -> Result<()> {
    let classes = Classes::start("expiry", 9885)?;
    let unit = classes.probe.unit();
    // A command line that follows its fault, and dies on the way.
    let words = classes.probe.fault(&unit, "3s");
    let mut follower = Command::new(CTL)
        .arg("inject")
        .args(words)
        .arg("--verbose")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    classes.probe.wait_for(true, 20)?;
    follower.kill()?;
    follower.wait()?;
    // The newest comes first.
    let followed = lab::faults()?.into_iter().next().context("no faults")?;
    ensure!(
        followed["state"] == "active" && followed["unit"] == unit,
        "the fault went with its command line: {followed}"
    );
    wait::until_true(wait::SOON, "it has expired", || {
        Ok(lab::faults()?[0]["state"] == "expired")
    })?;
    classes.probe.wait_for(false, 20)?;

    let begun_ns = monotonic_ns();
    let ids = classes.inject("4s")?;
    let injected_ns = monotonic_ns();
    classes.wait_all()?;
    let last = classes.wait_gone(injected_ns + 4_000_000_000)?;
    ensure!(
        between(begun_ns, monotonic_ns()) >= Duration::from_secs(4),
        "over before its time"
    );
    expect(&last, Duration::from_secs(1), "after their end")?;
    for id in ids {
        ensure!(lab::fault(id)?["state"] == "expired", "{}", lab::fault(id)?);
    }
    Ok(())
}

fn without_injector() -> Result<()> {
    let classes = Classes::start("expiry-frozen", 9886)?;
    let ids = classes.inject("10m")?;
    classes.wait_all()?;
    let process = lab::main_process(INJECTOR)?;
    kill_process(process, Signal::STOP)?;
    let frozen_ns = monotonic_ns();
    let last = classes.wait_gone(frozen_ns)?;
    kill_process(process, Signal::CONT)?;
    expect(&last, Duration::from_secs(2), "with the injector frozen")?;
    // What was reverted behind its back it does not do again, and says so.
    wait::until_true(wait::SOON, "it knows what was reverted", || {
        for id in &ids[2..] {
            let fault = lab::fault(*id)?;
            ensure!(fault["state"] == "reverted", "{fault}");
        }
        Ok(true)
    })?;
    lab::ctl(&["clear", "--all"])?;
    ensure!(classes.acting()?.is_empty(), "{:?}", classes.acting()?);
    Ok(())
}

fn timer_alone() -> Result<()> {
    const HELD: Duration = Duration::from_secs(4);
    let id = lab::inject(&["freeze", "--unit", API_2, "--for", "4s"])?;
    let injected_ns = monotonic_ns();
    let frozen = || Ok(systemd::cgroup_value(API_2, "cgroup.events", "frozen")? == 1);
    wait::until_true(wait::SOON, "it is frozen", frozen)?;
    let timers = command::output(&["systemctl", "list-timers", "--all", "--no-legend"])?;
    let name = format!("observastack-revert-{id}.timer");
    ensure!(timers.contains(&name), "no {name} is armed: {timers}");
    for unit in [GUARD, INJECTOR] {
        kill_process(lab::main_process(unit)?, Signal::STOP)?;
    }
    // Nobody is left who could thaw it before its time.
    let over_ns = injected_ns + u64::try_from(HELD.as_nanos())?;
    wait::until_true(wait::SOON, "it is thawed", || Ok(!frozen()?))?;
    let late = between(over_ns, monotonic_ns());
    figures::note(format!("systemd's timer thawed {late:?} after the end"));
    ensure!(monotonic_ns() >= over_ns, "thawed before its end, by whom?");
    ensure!(late <= Duration::from_secs(3), "thawed {late:?} late");
    Ok(())
}
