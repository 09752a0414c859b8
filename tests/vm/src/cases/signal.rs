//! `signal`: a unit's process gets a signal at the very system call that was chosen.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use super::Case;
use crate::{
    rules::{Plan, SIGTERM, SYS_GETPPID},
    scene::Scene,
};

pub(super) const CASES: &[Case] = &[
    ("sigterm_ends_a_process_at_the_third_call", |scene| {
        third_call(scene, SIGTERM)
    }),
    ("sigusr1_ends_a_process_at_the_third_call", |scene| {
        third_call(scene, SIGUSR1)
    }),
    ("sigkill_ends_a_process_at_the_third_call", |scene| {
        third_call(scene, SIGKILL)
    }),
    ("at_another_call_is_not_sent", another_call),
    ("hits_the_predicted_calls_of_many_processes", predicted),
];

const UNIT: &str = "target.service";
const SIGKILL: u32 = 9;
const SIGUSR1: u32 = 10;
const TIMES: u32 = 10;

/// How many calls a client has begun.
fn begun(log: &Path) -> Result<u64> {
    Ok(fs::metadata(log)?.len())
}

fn third_call(scene: &mut Scene, signal: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = |name: &str| folder.path().join(name);
    let path = scene.make_unit(UNIT)?;
    let mut target = scene.client(&path)?;
    let mut second = scene.client(&path)?;
    let mut bystander = scene.unit("bystander.service")?;
    let plan = Plan::always().after_events(2).at_most(1);
    let armed = scene.arm(UNIT, plan.signal(SYS_GETPPID, signal))?;

    bystander.getppid(&log("bystander"), TIMES)?;
    ensure!(
        scene.counts(armed)?.matched == 0,
        "the bystander's calls count"
    );
    ensure!(
        target.getppid(&log("target"), TIMES).is_err(),
        "the client lives"
    );
    let by = target.killed_by()?;
    ensure!(by as u32 == signal, "signal {by} ended the client");
    ensure!(
        begun(&log("target"))? == 3,
        "it died in call {}",
        begun(&log("target"))?
    );
    let counts = scene.counts(armed)?;
    ensure!((counts.matched, counts.injected) == (3, 1), "{counts:?}");

    // The one signal that the rule had is sent.
    second.getppid(&log("second"), TIMES)?;
    bystander.getppid(&log("bystander"), TIMES)?;
    ensure!(
        begun(&log("bystander"))? == u64::from(2 * TIMES),
        "the bystander's calls"
    );
    let counts = scene.disarm(armed)?;
    ensure!(
        (counts.matched, counts.injected) == (3 + u64::from(TIMES), 1),
        "{counts:?}"
    );

    // The same rule again would end the second client, but for its end.
    let armed = scene.arm(UNIT, plan.signal(SYS_GETPPID, signal))?;
    scene.disarm(armed)?;
    second.getppid(&log("second"), TIMES)
}

fn another_call(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut target = scene.unit(UNIT)?;
    // One that nothing here makes (`getpgid`, `getsid` have these numbers).
    let other = if cfg!(target_arch = "x86_64") {
        124
    } else {
        156
    };
    let armed = scene.arm(UNIT, Plan::always().signal(other, SIGTERM))?;
    target.getppid(&log, TIMES)?;
    let counts = scene.disarm(armed)?;
    ensure!(counts.matched == 0, "{counts:?}");
    let armed = scene.arm(UNIT, Plan::always().signal(SYS_GETPPID, SIGTERM))?;
    ensure!(target.getppid(&log, 1).is_err(), "the client lives");
    ensure!(
        target.killed_by()? as u32 == SIGTERM && scene.counts(armed)?.injected == 1,
        "another signal, or another count"
    );
    Ok(())
}

fn predicted(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let path = scene.make_unit(UNIT)?;
    let plan = Plan::of(0.1, 5);
    let armed = scene.arm(UNIT, plan.signal(SYS_GETPPID, SIGTERM))?;
    let (mut made, mut deaths) = (0, 0);
    while deaths < 4 {
        let mut client = scene.client(&path)?;
        ensure!(client.getppid(&log, 500).is_err(), "the client lives");
        deaths += 1;
        let dies_at = (made..).find(|n| plan.faults(*n)).unwrap_or(u64::MAX);
        made = begun(&log)?;
        ensure!(
            made == dies_at + 1,
            "death {deaths} at call {made}, predicted after {dies_at}"
        );
        client.killed_by()?;
    }
    let counts = scene.counts(armed)?;
    ensure!(
        (counts.matched, counts.injected) == (made, deaths),
        "{made} calls, {deaths} deaths, the kernel counts {counts:?}"
    );
    Ok(())
}
