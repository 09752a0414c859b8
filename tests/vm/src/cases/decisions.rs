//! The decisions that a verbose rule streams.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use observastack_loader::{abi::rule::LOG_INTERVAL_NS, clock::monotonic_ns, decisions::Decision};

use super::Case;
use crate::{
    agent::Protocol,
    rules::{LOCALHOST, Plan, errno},
    scene::Scene,
    traffic::{Acceptor, on_one_cpu, outside, send, settled},
    wait,
};

pub(super) const CASES: &[Case] = &[
    (
        "of_packets_agree_with_the_prediction_and_are_rate_limited",
        packets,
    ),
    ("of_connects_agree_with_the_prediction", connects),
    ("of_two_verbose_rules_carry_their_ids", two_rules),
    ("of_a_rule_that_is_not_verbose_stay_silent", silent),
];

const UNIT: &str = "target.service";

/// How many lines are enough.
const LINES: usize = 40;

/// Sends until there are enough lines; gives how many packets that took.
fn lines(scene: &mut Scene, to: SocketAddr, decisions: &mut Vec<Decision>) -> Result<u64> {
    let socket = outside(LOCALHOST)?;
    let mut sent = 0;
    let deadline = scene.deadline();
    let loader = &mut scene.loader;
    // From one CPU: two may each log once in an interval.
    on_one_cpu(|| {
        wait::until(deadline, "enough decisions are logged", || {
            send(&socket, &[to], sent..sent + 20)?;
            sent += 20;
            decisions.extend(loader.poll_decisions());
            Ok(decisions.len() >= LINES)
        })
    })?;
    Ok(sent)
}

fn packets(scene: &mut Scene) -> Result<()> {
    let mut client = scene.unit(UNIT)?;
    let sink = client.udp_sink(LOCALHOST)?;
    let plan = Plan::of(0.5, 31)
        .id(4242)
        .port(sink.address.port())
        .verbose();
    let armed = scene.arm(UNIT, plan.loss())?;
    let started_ns = monotonic_ns();
    let mut decisions = Vec::new();
    let sent = lines(scene, sink.address, &mut decisions)?;
    let took_ns = monotonic_ns() - started_ns;

    for decision in &decisions {
        let expected = Decision {
            fault: 4242,
            event: "packet".to_owned(),
            n: decision.n,
            port: plan.filter.port,
            faulted: plan.faults(decision.n),
        };
        ensure!(*decision == expected, "{decision:?} is not {expected:?}");
        ensure!(decision.n < sent, "{decision:?} of {sent} packets");
    }
    ensure!(
        decisions.is_sorted_by(|a, b| a.n < b.n),
        "lines in another order: {decisions:?}"
    );
    // Both fates appear: 40 equal ones are one case in 10^12.
    ensure!(
        decisions.iter().any(|decision| decision.faulted)
            && decisions.iter().any(|decision| !decision.faulted),
        "only one fate: {decisions:?}"
    );
    // Once in an interval for each kind of decision.
    let allowed = 2 * (took_ns / LOG_INTERVAL_NS + 1);
    ensure!(
        decisions.len() as u64 <= allowed,
        "{} lines in {} ms, allowed are {allowed}",
        decisions.len(),
        took_ns / 1_000_000
    );
    // What isn't logged is decided all the same.
    let (received, counts) = settled(scene, &mut client, sink, &[armed], sent)?;
    ensure!(
        counts[0].matched == sent
            && received == (0..sent).filter(|n| !plan.faults(*n)).collect::<Vec<_>>(),
        "logging changes the decisions: {:?}",
        counts[0]
    );
    Ok(())
}

fn connects(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let mut client = scene.unit(UNIT)?;
    let plan = Plan::of(0.5, 32).id(7).verbose();
    scene.arm(UNIT, plan.error(errno::EACCES))?;
    let mut seen = Vec::new();
    let mut decisions = Vec::new();
    wait::until(scene.deadline(), "decisions are logged", || {
        seen.extend(client.connect(Protocol::Tcp, server.address, 2)?);
        decisions.extend(scene.loader.poll_decisions());
        Ok(decisions.len() >= LINES / 2)
    })?;
    for decision in decisions {
        ensure!(
            decision.fault == 7
                && decision.event == "connect"
                && decision.port == server.address.port(),
            "{decision:?}"
        );
        let failed = seen
            .get(decision.n as usize)
            .map(|errno| *errno != errno::OK);
        ensure!(
            failed == Some(decision.faulted) && decision.faulted == plan.faults(decision.n),
            "{decision:?}, the client saw {failed:?}"
        );
    }
    Ok(())
}

fn two_rules(scene: &mut Scene) -> Result<()> {
    let mut client = scene.unit(UNIT)?;
    let sink = client.udp_sink(LOCALHOST)?;
    for id in [11, 12] {
        scene.arm(UNIT, Plan::of(0.0, 1).id(id).verbose().loss())?;
    }
    let mut decisions = Vec::new();
    lines(scene, sink.address, &mut decisions)?;
    for id in [11, 12] {
        ensure!(
            decisions.iter().any(|decision| decision.fault == id),
            "no line of fault {id}"
        );
    }
    ensure!(
        decisions
            .iter()
            .all(|decision| [11, 12].contains(&decision.fault)),
        "another fault's line: {decisions:?}"
    );
    Ok(())
}

fn silent(scene: &mut Scene) -> Result<()> {
    const PACKETS: u64 = 500;
    let mut client = scene.unit(UNIT)?;
    let (quiet, loud) = (client.udp_sink(LOCALHOST)?, client.udp_sink(LOCALHOST)?);
    let rule = Plan::of(0.5, 1).id(1).port(quiet.address.port());
    let armed = scene.arm(UNIT, rule.loss())?;
    let rule = Plan::of(0.5, 1).id(2).port(loud.address.port()).verbose();
    scene.arm(UNIT, rule.loss())?;
    send(&outside(LOCALHOST)?, &[quiet.address], 0..PACKETS)?;
    settled(scene, &mut client, quiet, &[armed], PACKETS)?;
    // The other rule's lines come after any that the first could have written.
    let mut decisions = Vec::new();
    lines(scene, loud.address, &mut decisions)?;
    ensure!(
        decisions.iter().all(|decision| decision.fault == 2),
        "a rule that isn't verbose logs: {decisions:?}"
    );
    Ok(())
}
