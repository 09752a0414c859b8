//! `panic`: everything is undone at once and nothing new begins, whoever of us is alive.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::process::{Signal, kill_process};

use crate::{
    agents::ConnectProbe,
    clock::{between, monotonic_ns},
    command, figures,
    lab::{self, API_1, API_2, CTL, INJECTOR},
    machine,
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "panic::it_ends_everything_refuses_what_is_new_and_outlives_a_restart",
            online,
        ),
        test(
            "panic::it_works_with_the_injector_stopped",
            injector_stopped,
        ),
        test("panic::it_works_with_the_injector_frozen", injector_frozen),
    ]
}

/// A fault that the kernel holds, one that is kept up, and one that is journalled.
fn inject_some(probe: &ConnectProbe) -> Result<()> {
    let unit = probe.unit();
    lab::inject(&probe.fault(&unit, "10m"))?;
    lab::inject(&["freeze", "--unit", API_2, "--for", "10m"])?;
    let load = ["--workers", "1", "--load", "10%"];
    lab::inject(&[&["cpu-stress", "--unit", API_1, "--for", "10m"][..], &load].concat())?;
    probe.wait_for(true, 20)?;
    wait::until_true(wait::SOON, "all act", || Ok(is_frozen()? && is_loaded()?))
}

fn is_frozen() -> Result<bool> {
    Ok(systemd::cgroup_value(API_2, "cgroup.events", "frozen")? == 1)
}

fn is_loaded() -> Result<bool> {
    Ok(systemd::processes(API_1)?.into_iter().any(machine::is_load))
}

/// Nothing acts any more: at once, for the command has returned.
fn expect_calm(probe: &ConnectProbe, returned_ns: u64) -> Result<()> {
    ensure!(!is_frozen()?, "still frozen");
    ensure!(!is_loaded()?, "still loaded");
    let seen = probe.wait_for(false, 50)?;
    ensure!(
        seen.last_run_ended_ns <= returned_ns,
        "connects were faulted after the panic returned"
    );
    let timers = ["systemctl", "list-units", "--all", "--plain", "--no-legend"];
    let timers = command::output(&[&timers[..], &["observastack-revert-*.timer"]].concat())?;
    ensure!(timers.trim().is_empty(), "timers are left: {timers}");
    Ok(())
}

fn expect_refused() -> Result<()> {
    let words = ["inject", "blackhole", "--unit", API_1, "--for", "10s"];
    for more in [&[][..], &["--port", "9"]] {
        let ran = lab::ctl_ran(&[&words[..], more].concat())?;
        ran.expect(1)?;
        ran.says(&["panic", "--lift"])?;
    }
    let status = lab::ctl(&["panic", "--status"])?;
    ensure!(status["panicked"] == true, "{status}");
    ensure!(
        lab::faults()?
            .iter()
            .all(|fault| fault["state"] != "active"),
        "faults are active"
    );
    Ok(())
}

fn lift(probe: &ConnectProbe) -> Result<()> {
    lab::ctl(&["panic", "--lift"])?;
    let status = lab::ctl(&["panic", "--status"])?;
    ensure!(status["panicked"] == false, "{status}");
    let unit = probe.unit();
    let id = lab::inject(&probe.fault(&unit, "10m"))?;
    probe.wait_for(true, 20)?;
    lab::clear(id)?;
    probe.wait_for(false, 20).map(drop)
}

fn online() -> Result<()> {
    let probe = ConnectProbe::start("panic", 9891)?;
    inject_some(&probe)?;
    let asked_ns = monotonic_ns();
    let status = lab::ctl(&["panic"])?;
    let returned_ns = monotonic_ns();
    expect_calm(&probe, returned_ns)?;
    figures::note(format!("a panic took {:?}", between(asked_ns, returned_ns)));
    ensure!(
        status["panicked"] == true && status["faults_ended"] == 3 && status["by_uid"] == 0,
        "{status}"
    );
    ensure!(
        lab::faults()?
            .iter()
            .take(3)
            .all(|fault| fault["state"] == "reverted"),
        "{:?}",
        lab::faults()?
    );
    expect_refused()?;
    // A new injector keeps to it, after a stop and after a crash.
    systemd::restart(INJECTOR)?;
    expect_refused()?;
    let killed = systemd::kill_9(INJECTOR)?;
    systemd::wait_restarted(INJECTOR, killed)?;
    expect_refused()?;
    // Once more does no harm.
    lab::ctl(&["panic"])?;
    lift(&probe)
}

fn injector_stopped() -> Result<()> {
    let probe = ConnectProbe::start("panic-stopped", 9892)?;
    inject_some(&probe)?;
    systemd::stop(INJECTOR)?;
    let ran = command::run(&[CTL, "panic"])?;
    let returned_ns = monotonic_ns();
    ran.expect(0)?;
    expect_calm(&probe, returned_ns)?;
    ensure!(
        ran.stdout.contains("reverting without the injector")
            && ran.stdout.contains("every fault is reverted"),
        "{}",
        ran.stdout
    );
    systemd::start(INJECTOR)?;
    expect_refused()?;
    lift(&probe)
}

fn injector_frozen() -> Result<()> {
    let probe = ConnectProbe::start("panic-frozen", 9893)?;
    inject_some(&probe)?;
    let process = lab::main_process(INJECTOR)?;
    kill_process(process, Signal::STOP)?;
    let asked_ns = monotonic_ns();
    let ran = command::run(&[CTL, "panic"])?;
    let returned_ns = monotonic_ns();
    ran.expect(0)?;
    figures::note(format!(
        "a panic with a frozen injector took {:?}",
        between(asked_ns, returned_ns)
    ));
    // It was not thawed by anybody: the frozen one is killed, or it wakes up to a panic.
    let _ = kill_process(process, Signal::CONT);
    wait::until_true(wait::SOON, "an injector answers", || {
        Ok(lab::ctl_ran(&["faults"])?.code == 0)
    })?;
    expect_calm(&probe, returned_ns)?;
    expect_refused()?;
    lift(&probe)
}
