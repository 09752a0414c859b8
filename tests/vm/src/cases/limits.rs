//! What doesn't fit is refused, and leaves nothing behind.

use anyhow::{Result, bail, ensure};
use observastack_loader::{
    ArmError, FaultKind, Rule,
    abi::{rule::RULES_PER_UNIT, unit::MAX_UNITS},
};

use super::Case;
use crate::{
    agent::Protocol,
    rules::{LOCALHOST, Plan, errno},
    scene::Scene,
    traffic::{Acceptor, outside, send, settled},
};

pub(super) const CASES: &[Case] = &[
    ("a_ninth_rule_of_a_unit_is_refused", ninth_rule),
    ("a_name_of_64_bytes_is_refused", long_name),
    ("a_unit_more_than_fit_is_refused", too_many_units),
    ("indices_of_cleared_units_are_used_again", reused),
    ("a_missing_slice_is_named", no_slice),
];

const UNIT: &str = "target.service";

fn rule() -> Rule {
    Plan::of(0.5, 1).error(errno::EACCES)
}

fn ninth_rule(scene: &mut Scene) -> Result<()> {
    let mut armed = Vec::new();
    for id in 1..=u64::from(RULES_PER_UNIT) {
        armed.push(scene.arm(UNIT, Plan::of(0.0, id).id(id).loss())?);
    }
    match scene.loader.arm(UNIT, &Plan::always().id(9).loss()) {
        Err(ArmError::TooManyRules { unit, fault, limit }) => ensure!(
            (unit.as_str(), fault, limit) == (UNIT, FaultKind::PacketLoss, RULES_PER_UNIT),
            "{unit}, {fault:?}, {limit}"
        ),
        other => bail!("the ninth rule: {other:?}"),
    }
    // It isn't in force, and all eight are.
    let mut client = scene.unit(UNIT)?;
    let sink = client.udp_sink(LOCALHOST)?;
    send(&outside(LOCALHOST)?, &[sink.address], 0..100)?;
    let (received, counts) = settled(scene, &mut client, sink, &armed, 100)?;
    ensure!(
        received.len() == 100 && counts.iter().all(|counts| counts.matched == 100),
        "{} received, {counts:?}",
        received.len()
    );
    // Another fault has slots of its own.
    let other = scene.arm(UNIT, rule())?;
    scene.disarm(other)?;
    // Nothing of it keeps the unit in the kernel's table: every index is free once the eight have gone.
    for armed in armed {
        scene.disarm(armed)?;
    }
    fill(scene)
}

/// Arms a rule for as many units as fit.
fn fill(scene: &mut Scene) -> Result<()> {
    for n in 0..MAX_UNITS {
        scene.arm(&format!("filler-{n}.service"), rule())?;
    }
    Ok(())
}

fn long_name(scene: &mut Scene) -> Result<()> {
    let long = "x".repeat(64);
    match scene.loader.arm(&long, &rule()) {
        Err(ArmError::Unit(message)) => ensure!(
            message.contains(&long) && message.contains("63 bytes"),
            "{message}"
        ),
        other => bail!("a name of 64 bytes: {other:?}"),
    }
    fill(scene)
}

fn too_many_units(scene: &mut Scene) -> Result<()> {
    let first = scene.arm("first.service", rule())?;
    for n in 1..MAX_UNITS {
        scene.arm(&format!("filler-{n}.service"), rule())?;
    }
    match scene.loader.arm("late.service", &rule()) {
        Err(ArmError::Unit(message)) => {
            ensure!(message.contains(&MAX_UNITS.to_string()), "{message}");
        }
        other => bail!("one unit too many: {other:?}"),
    }
    // A second rule for a unit that is known needs no room, and the refused unit gets what is cleared.
    scene.arm("filler-1.service", rule())?;
    scene.disarm(first)?;
    scene.arm("late.service", rule())?;
    Ok(())
}

/// Each unit's rule is its own, though its index had others before it.
fn reused(scene: &mut Scene) -> Result<()> {
    const UNITS: u16 = 200;
    let server = Acceptor::start(LOCALHOST)?;
    let path = scene.make_unit("last.service")?;
    for n in 0..UNITS {
        let name = format!("unit-{n}.service");
        let armed = scene.arm(&name, Plan::always().error(errno::EACCES))?;
        let counts = scene.disarm(armed)?;
        ensure!(counts.matched == 0, "{name} starts with {counts:?}");
    }
    let armed = scene.arm("last.service", Plan::always().error(errno::ETIMEDOUT))?;
    let mut client = scene.client(&path)?;
    let mut before = scene.unit("unit-0.service")?;
    let seen = client.connect(Protocol::Tcp, server.address, 3)?;
    ensure!(seen == [errno::ETIMEDOUT; 3], "the last unit saw {seen:?}");
    let seen = before.connect(Protocol::Tcp, server.address, 3)?;
    ensure!(seen == [errno::OK; 3], "a cleared unit saw {seen:?}");
    ensure!(scene.counts(armed)?.matched == 3, "counted wrongly");
    ensure!(scene.loader.lost_cgroups() == 0, "cgroups were lost");
    Ok(())
}

fn no_slice(scene: &mut Scene) -> Result<()> {
    let slice = scene.slice().to_owned();
    scene.remove(&slice)?;
    match scene.loader.arm(UNIT, &rule()) {
        Err(ArmError::NoSlice(looked_for)) => ensure!(
            looked_for.contains(&slice.display().to_string()),
            "looked for {looked_for}"
        ),
        other => bail!("without a slice: {other:?}"),
    }
    Ok(())
}
