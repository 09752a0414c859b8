//! `packet-loss` under datagrams: exactly the predicted ones are lost, and nobody else's.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Result, ensure};

use super::Case;
use crate::{
    rules::{LOCALHOST, Plan, binomial_99},
    scene::Scene,
    traffic::{message, outside, raw_socket, send, settled},
};

pub(super) const CASES: &[Case] = &[
    ("loses_exactly_the_predicted_ipv4_datagrams", |scene| {
        predicted(scene, Ipv4Addr::LOCALHOST.into())
    }),
    ("loses_exactly_the_predicted_ipv6_datagrams", |scene| {
        predicted(scene, Ipv6Addr::LOCALHOST.into())
    }),
    ("of_0_percent_loses_none_and_of_100_all", none_and_all),
    ("with_a_port_leaves_other_ipv4_ports_alone", |scene| {
        port_of_the_unit(scene, Ipv4Addr::LOCALHOST.into())
    }),
    ("with_a_port_leaves_other_ipv6_ports_alone", |scene| {
        port_of_the_unit(scene, Ipv6Addr::LOCALHOST.into())
    }),
    ("with_a_port_covers_the_ipv4_peers_port_too", |scene| {
        port_of_the_peer(scene, Ipv4Addr::LOCALHOST.into())
    }),
    ("with_a_port_covers_the_ipv6_peers_port_too", |scene| {
        port_of_the_peer(scene, Ipv6Addr::LOCALHOST.into())
    }),
    ("without_a_port_covers_other_protocols", other_protocols),
    ("reaches_connected_sockets", connected_sockets),
    ("of_two_rules_composes", two_rules),
    ("is_over_when_it_is_cleared", cleared),
];

/// Datagrams of the main test, as many as issue 2 asks for.
const DATAGRAMS: u64 = 5_000;

/// Datagrams where it is about which, not how many.
const SOME: u64 = 400;

fn predicted(scene: &mut Scene, ip: IpAddr) -> Result<()> {
    let plan = Plan::of(0.2, 20);
    let mut target = scene.unit("target.service")?;
    let mut bystander = scene.unit("bystander.service")?;
    let (sink, other) = (target.udp_sink(ip)?, bystander.udp_sink(ip)?);
    let armed = scene.arm("target.service", plan.loss())?;
    send(&outside(ip)?, &[sink.address, other.address], 0..DATAGRAMS)?;

    let (received, counts) = settled(scene, &mut target, sink, &[armed], DATAGRAMS)?;
    let expected: Vec<u64> = (0..DATAGRAMS).filter(|n| !plan.faults(*n)).collect();
    ensure!(
        received == expected,
        "other datagrams were lost than predicted: {}",
        difference(&expected, &received)
    );
    ensure!(
        counts[0].matched == DATAGRAMS,
        "the rule covered {} of {DATAGRAMS}",
        counts[0].matched
    );
    let misses = DATAGRAMS - received.len() as u64;
    let (low, high) = binomial_99(DATAGRAMS, plan.probability);
    ensure!(
        (low..=high).contains(&(misses as f64)),
        "{misses} lost of {DATAGRAMS}, outside {low:.0} to {high:.0}"
    );
    ensure!(
        counts[0].skipped == 0,
        "{} skipped while the lease holds",
        counts[0].skipped
    );

    let (received, _) = settled(scene, &mut bystander, other, &[], DATAGRAMS)?;
    ensure!(
        received == (0..DATAGRAMS).collect::<Vec<_>>(),
        "the bystander's datagrams arrived in another order"
    );
    Ok(())
}

fn none_and_all(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit("target.service")?;
    let sink = target.udp_sink(LOCALHOST)?;
    let outside = outside(LOCALHOST)?;

    let armed = scene.arm("target.service", Plan::of(0.0, 1).loss())?;
    send(&outside, &[sink.address], 0..SOME)?;
    let (received, counts) = settled(scene, &mut target, sink, &[armed], SOME)?;
    ensure!(received.len() as u64 == SOME, "0 % lost something");
    ensure!(
        (counts[0].matched, counts[0].injected) == (SOME, 0),
        "0 %: {:?}",
        counts[0]
    );
    scene.disarm(armed)?;

    let armed = scene.arm("target.service", Plan::always().loss())?;
    send(&outside, &[sink.address], SOME..2 * SOME)?;
    let (received, counts) = settled(scene, &mut target, sink, &[armed], 2 * SOME)?;
    ensure!(
        received.len() as u64 == SOME,
        "100 % let {} through",
        received.len() as u64 - SOME
    );
    ensure!(
        (counts[0].matched, counts[0].injected) == (SOME, SOME),
        "100 %: {:?}",
        counts[0]
    );
    Ok(())
}

fn port_of_the_unit(scene: &mut Scene, ip: IpAddr) -> Result<()> {
    let mut target = scene.unit("target.service")?;
    let (covered, other) = (target.udp_sink(ip)?, target.udp_sink(ip)?);
    let plan = Plan::of(0.5, 5).port(covered.address.port());
    let armed = scene.arm("target.service", plan.loss())?;
    send(&outside(ip)?, &[covered.address, other.address], 0..SOME)?;

    let (received, counts) = settled(scene, &mut target, covered, &[armed], SOME)?;
    let expected: Vec<u64> = (0..SOME).filter(|n| !plan.faults(*n)).collect();
    ensure!(received == expected, "{}", difference(&expected, &received));
    ensure!(
        counts[0].matched == SOME,
        "the other port's packets were counted too: {:?}",
        counts[0]
    );
    settled(scene, &mut target, other, &[], SOME)?;
    Ok(())
}

fn port_of_the_peer(scene: &mut Scene, ip: IpAddr) -> Result<()> {
    let mut target = scene.unit("target.service")?;
    let sink = target.udp_sink(ip)?;
    let (covered, other) = (outside(ip)?, outside(ip)?);
    let rule = Plan::always().port(covered.local_addr()?.port()).loss();
    let armed = scene.arm("target.service", rule)?;
    send(&covered, &[sink.address], 0..SOME)?;
    send(&other, &[sink.address], SOME..2 * SOME)?;

    let (received, counts) = settled(scene, &mut target, sink, &[armed], 2 * SOME)?;
    ensure!(
        received == (SOME..2 * SOME).collect::<Vec<_>>(),
        "other packets were lost than the covered peer's"
    );
    ensure!(
        (counts[0].matched, counts[0].injected) == (SOME, SOME),
        "{:?}",
        counts[0]
    );
    Ok(())
}

fn other_protocols(scene: &mut Scene) -> Result<()> {
    const PORT: u16 = 4242;
    let mut target = scene.unit("target.service")?;
    let sink = target.raw_sink()?;
    let outside = raw_socket()?;
    let send_raw = |numbers: std::ops::Range<u64>| -> Result<()> {
        for n in numbers {
            // Where TCP and UDP have their ports, this protocol has the number of the rule's.
            outside.send_to(&message(n, PORT), (LOCALHOST, 0))?;
        }
        Ok(())
    };

    let with_port = scene.arm("target.service", Plan::always().port(PORT).loss())?;
    send_raw(0..SOME)?;
    let (_, counts) = settled(scene, &mut target, sink, &[with_port], SOME)?;
    ensure!(
        counts[0].matched == 0,
        "a protocol without ports was matched by port: {:?}",
        counts[0]
    );
    scene.disarm(with_port)?;

    let any = scene.arm("target.service", Plan::always().loss())?;
    send_raw(SOME..2 * SOME)?;
    let (received, counts) = settled(scene, &mut target, sink, &[any], 2 * SOME)?;
    ensure!(
        received.len() as u64 == SOME && counts[0].injected == SOME,
        "{} received, {:?}",
        received.len(),
        counts[0]
    );
    Ok(())
}

fn connected_sockets(scene: &mut Scene) -> Result<()> {
    let plan = Plan::of(0.3, 3);
    let mut target = scene.unit("target.service")?;
    let sink = target.udp_sink(LOCALHOST)?;
    let outside = outside(LOCALHOST)?;
    target.connect_sink(sink, outside.local_addr()?)?;
    let armed = scene.arm("target.service", plan.loss())?;
    send(&outside, &[sink.address], 0..SOME)?;
    let (received, _) = settled(scene, &mut target, sink, &[armed], SOME)?;
    let expected: Vec<u64> = (0..SOME).filter(|n| !plan.faults(*n)).collect();
    ensure!(received == expected, "{}", difference(&expected, &received));
    Ok(())
}

/// The second rule sees, and numbers, what the first lets pass.
fn two_rules(scene: &mut Scene) -> Result<()> {
    let (first, second) = (Plan::of(0.2, 8).id(1), Plan::of(0.5, 9).id(2));
    let mut target = scene.unit("target.service")?;
    let sink = target.udp_sink(LOCALHOST)?;
    let armed = [
        scene.arm("target.service", first.loss())?,
        scene.arm("target.service", second.loss())?,
    ];
    send(&outside(LOCALHOST)?, &[sink.address], 0..SOME)?;

    let (received, counts) = settled(scene, &mut target, sink, &armed, SOME)?;
    let mut second_n = 0..;
    let expected: Vec<u64> = (0..SOME)
        .filter(|n| !first.faults(*n))
        .filter(|_| second_n.next().is_some_and(|n| !second.faults(n)))
        .collect();
    ensure!(received == expected, "{}", difference(&expected, &received));
    ensure!(
        counts[0].matched == SOME && counts[1].matched == SOME - counts[0].injected,
        "{counts:?}"
    );
    ensure!(
        counts.iter().all(|counts| counts.injected > 0),
        "{counts:?}"
    );
    Ok(())
}

fn cleared(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit("target.service")?;
    let sink = target.udp_sink(LOCALHOST)?;
    let outside = outside(LOCALHOST)?;
    let armed = scene.arm("target.service", Plan::always().loss())?;
    send(&outside, &[sink.address], 0..SOME)?;
    settled(scene, &mut target, sink, &[armed], SOME)?;
    let last = scene.disarm(armed)?;
    ensure!(
        (last.matched, last.injected) == (SOME, SOME),
        "the last counts are {last:?}"
    );
    send(&outside, &[sink.address], SOME..2 * SOME)?;
    let (received, _) = settled(scene, &mut target, sink, &[], SOME)?;
    ensure!(
        received == (SOME..2 * SOME).collect::<Vec<_>>(),
        "not the packets from after the clear"
    );
    Ok(())
}

/// The first few numbers that one has and the other hasn't.
fn difference(expected: &[u64], received: &[u64]) -> String {
    let (e, r): (HashSet<u64>, HashSet<u64>) = (
        expected.iter().copied().collect(),
        received.iter().copied().collect(),
    );
    let first = |a: &HashSet<u64>, b: &HashSet<u64>| {
        let mut numbers: Vec<u64> = a.difference(b).copied().collect();
        numbers.sort_unstable();
        numbers.truncate(10);
        numbers
    };
    format!(
        "{} expected and {} received; expected only: {:?}, received only: {:?} (none: another order)",
        expected.len(),
        received.len(),
        first(&e, &r),
        first(&r, &e)
    )
}
