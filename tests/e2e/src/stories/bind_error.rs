//! `bind-error`: a service that can't have its port, in its own words and in the kernel's count.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::{BindProbe, FAULT},
    command, ends, figures,
    http::curl,
    journal,
    lab::{self, API_1, API_2},
    statistics::interval_99,
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "bind_error::a_service_without_its_port_does_not_start_and_says_why",
            service,
        ),
        test(
            "bind_error::half_the_binds_fail_as_counted_and_a_bystander_sees_none",
            half,
        ),
        test("bind_error::it_outlives_a_restart_of_its_unit", restarted),
        test("bind_error::it_ends_in_every_way", every_way),
    ]
}

fn service() -> Result<()> {
    let mark = journal::mark()?;
    let id = lab::inject(&[
        "bind-error",
        "--unit",
        API_1,
        "--errno",
        "EADDRINUSE",
        "--port",
        "8101",
        "--for",
        "10m",
    ])?;
    // What is bound goes on.
    curl(&["http://127.0.0.1:8101/products?limit=1"])?.expect(200)?;
    systemd::restart(API_2)?;
    let restart = command::run(&["systemctl", "restart", API_1])?;
    ensure!(restart.code != 0, "it has started without its port");
    mark.wait_for(API_1, "the error of bind(2)", |record| {
        let text = journal::all_text(record);
        text.contains("127.0.0.1:8101 is already in use")
    })?;
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? >= 1, "{ended}");
    command::output(&["systemctl", "reset-failed", API_1])?;
    systemd::start(API_1)?;
    curl(&["http://127.0.0.1:8101/products?limit=1"])?.expect(200)?;
    Ok(())
}

/// The fault that the probe knows.
fn inject(unit: &str, held: &str, more: &[&str]) -> Result<u64> {
    let words = [
        "bind-error",
        "--unit",
        unit,
        "--errno",
        FAULT,
        "--for",
        held,
    ];
    lab::inject(&[&words[..], more].concat())
}

fn half() -> Result<()> {
    let (probe, bystander) = (
        BindProbe::start("bind", 9860)?,
        BindProbe::start("bind-bystander", 9861)?,
    );
    let id = inject(
        &probe.unit(),
        "10m",
        &["--probability", "50%", "--seed", "5", "--protocol", "udp"],
    )?;
    wait::until_true(wait::SOON, "thousands of binds", || {
        Ok(probe.seen()?.faulted >= 2_500)
    })?;
    let ended = lab::clear(id)?;
    let seen = probe.wait_for(false, 100)?;
    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    figures::note(format!("{injected} of {matched} binds failed"));
    ensure!(
        seen.faulted == injected,
        "the kernel faulted {injected} binds, the process saw {}",
        seen.faulted
    );
    let interval = interval_99(matched, 0.5);
    ensure!(
        interval.contains(&injected),
        "{injected} of {matched} is outside of {interval:?}"
    );
    let others = bystander.seen()?;
    ensure!(
        others.faulted == 0 && others.unfaulted > 1_000,
        "the bystander saw {others:?}"
    );
    // Another protocol is not meant.
    let before = probe.seen()?.faulted;
    let id = inject(&probe.unit(), "10m", &["--protocol", "tcp"])?;
    probe.wait_for(false, probe.seen()?.run_length + 200)?;
    let ended = lab::clear(id)?;
    ensure!(
        probe.seen()?.faulted == before && lab::count(&ended, "matched")? == 0,
        "{ended}"
    );
    Ok(())
}

fn restarted() -> Result<()> {
    let probe = BindProbe::start("bind-again", 9862)?;
    let unit = probe.unit();
    inject(&unit, "10m", &[])?;
    probe.wait_for(true, 50)?;
    systemd::restart(&unit)?;
    let seen = probe.wait_for(true, 50)?;
    ensure!(
        seen.first_faulted && seen.unfaulted == 0,
        "binds came through: {seen:?}"
    );
    Ok(())
}

fn every_way() -> Result<()> {
    let probe = BindProbe::start("bind-ends", 9863)?;
    let unit = probe.unit();
    ends::in_every_way(
        "bind-error",
        ends::kernel_held(),
        |held| inject(&unit, held, &[]),
        || {
            // The next attempt's outcome: those from before this look tell nothing.
            let before = probe.seen()?;
            wait::until(wait::SOON, "the probe goes on", || {
                let now = probe.seen()?;
                let done = now.faulted + now.unfaulted;
                Ok((done >= before.faulted + before.unfaulted + 2).then_some(now.now_faulted))
            })
        },
    )
}
