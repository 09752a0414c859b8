//! `packet-loss` of what a unit sends: the sender's own machine doesn't notice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};

use super::Case;
use crate::{
    rules::{LOCALHOST, Plan},
    scene::Scene,
    traffic::{MESSAGE_LEN, outside, send, settled},
};

pub(super) const CASES: &[Case] = &[
    ("loses_exactly_the_predicted_ipv4_datagrams", |scene| {
        predicted(scene, Ipv4Addr::LOCALHOST.into())
    }),
    ("loses_exactly_the_predicted_ipv6_datagrams", |scene| {
        predicted(scene, Ipv6Addr::LOCALHOST.into())
    }),
    ("with_a_port_leaves_other_ports_alone", port),
    ("and_of_what_arrives_are_two_directions", directions),
];

const UNIT: &str = "target.service";
const DATAGRAMS: u64 = 2_000;

/// No send fails ([`crate::agent::Agent::udp_send`] sees to it), and what is missing is what was predicted.
fn predicted(scene: &mut Scene, ip: IpAddr) -> Result<()> {
    let plan = Plan::of(0.3, 21).outward();
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let mut peer = scene.unit("peer.service")?;
    let (sink, other) = (peer.udp_sink(ip)?, peer.udp_sink(ip)?);
    let armed = scene.arm(UNIT, plan.loss())?;
    target.udp_send(ip, sink.address, 0..DATAGRAMS, MESSAGE_LEN)?;
    bystander.udp_send(ip, other.address, 0..DATAGRAMS, MESSAGE_LEN)?;
    let (received, counts) = settled(scene, &mut peer, sink, &[armed], DATAGRAMS)?;
    let expected: Vec<u64> = (0..DATAGRAMS).filter(|n| !plan.faults(*n)).collect();
    ensure!(
        received == expected,
        "other datagrams were lost than predicted: {} of {DATAGRAMS} arrived, {} were to",
        received.len(),
        expected.len()
    );
    ensure!(
        counts[0].matched == DATAGRAMS && counts[0].injected == plan.faulted_of(DATAGRAMS),
        "{:?}",
        counts[0]
    );
    settled(scene, &mut peer, other, &[], DATAGRAMS)?;

    scene.disarm(armed)?;
    target.udp_send(ip, other.address, 0..DATAGRAMS, MESSAGE_LEN)?;
    settled(scene, &mut peer, other, &[], 2 * DATAGRAMS)?;
    Ok(())
}

fn port(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let mut peer = scene.unit("peer.service")?;
    let (covered, other) = (peer.udp_sink(LOCALHOST)?, peer.udp_sink(LOCALHOST)?);
    let rule = Plan::always().outward().port(covered.address.port());
    let armed = scene.arm(UNIT, rule.loss())?;
    target.udp_send(LOCALHOST, covered.address, 0..DATAGRAMS, MESSAGE_LEN)?;
    target.udp_send(LOCALHOST, other.address, 0..DATAGRAMS, MESSAGE_LEN)?;
    settled(scene, &mut peer, other, &[], DATAGRAMS)?;
    let (received, counts) = settled(scene, &mut peer, covered, &[armed], DATAGRAMS)?;
    ensure!(
        received.is_empty() && counts[0].matched == DATAGRAMS,
        "{} arrived, {:?}",
        received.len(),
        counts[0]
    );
    Ok(())
}

/// A rule of one direction leaves the other alone.
fn directions(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let mut peer = scene.unit("peer.service")?;
    let (inward, outward) = (target.udp_sink(LOCALHOST)?, peer.udp_sink(LOCALHOST)?);
    let socket = outside(LOCALHOST)?;
    let mut arrived = [0, 0];
    let mut round = 0..DATAGRAMS;
    for (plan, lost) in [
        (Plan::always(), [true, false]),
        (Plan::always().outward(), [false, true]),
        (Plan::always().direction(3), [true, true]),
    ] {
        let armed = scene.arm(UNIT, plan.loss())?;
        send(&socket, &[inward.address], round.clone())?;
        target.udp_send(LOCALHOST, outward.address, round.clone(), MESSAGE_LEN)?;
        let expected = lost.iter().filter(|lost| **lost).count() as u64 * DATAGRAMS;
        for (arrived, lost) in arrived.iter_mut().zip(lost) {
            *arrived += if lost { 0 } else { DATAGRAMS };
        }
        settled(scene, &mut target, inward, &[], arrived[0])?;
        settled(scene, &mut peer, outward, &[], arrived[1])?;
        let counts = scene.disarm(armed)?;
        ensure!(
            (counts.matched, counts.injected) == (expected, expected),
            "{lost:?}: {expected} were lost, the kernel counts {counts:?}"
        );
        round = round.end..round.end + DATAGRAMS;
    }
    Ok(())
}
