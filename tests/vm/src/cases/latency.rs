//! `latency`: packets take as much longer as was asked, never less, and nobody else's do.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use observastack_loader::abi::{
    departure, jitter,
    packet::{DIRECTION_IN, DIRECTION_OUT, TCP},
};

use super::Case;
use crate::{
    rules::Plan,
    scene::{Scene, figure},
    streams,
    traffic::{MESSAGE_LEN, message, outside},
};

pub(super) const CASES: &[Case] = &[
    ("delays_what_leaves_and_what_arrives_over_ipv4", |scene| {
        directions(scene, Ipv4Addr::LOCALHOST.into())
    }),
    ("delays_what_leaves_and_what_arrives_over_ipv6", |scene| {
        directions(scene, Ipv6Addr::LOCALHOST.into())
    }),
    ("delays_tcp", tcp),
    ("varies_exactly_as_predicted", jitters),
    ("with_a_port_or_protocol_leaves_others_alone", filters),
    ("of_two_rules_adds_up", two_rules),
    ("of_rules_beyond_what_fq_keeps_drops_nothing", beyond),
    ("stops_with_the_lease_and_resumes_with_it", lease),
];

const UNIT: &str = "target.service";
const DELAY: Duration = Duration::from_millis(150);
const PINGS: u64 = 8;

/// How much longer an emulated machine may take, in the middle of several attempts.
const SLACK: Duration = Duration::from_millis(90);

/// Round trips, one after the other.
fn round_trips(server: SocketAddr, times: u64, deadline: Duration) -> Result<Vec<Duration>> {
    let ip: IpAddr = server.ip();
    let socket = outside(ip)?;
    socket.set_read_timeout(Some(deadline))?;
    let mut answer = [0; MESSAGE_LEN];
    (0..times)
        .map(|n| {
            let started = Instant::now();
            socket.send_to(&message(n, 0), server)?;
            socket
                .recv(&mut answer)
                .with_context(|| format!("ping {n} has no answer"))?;
            ensure!(answer == message(n, 0), "ping {n} has another's answer");
            Ok(started.elapsed())
        })
        .collect()
}

/// Each at least this much, and the middle one not much more.
fn takes(what: &str, taken: &[Duration], least: Duration) -> Result<()> {
    let mut sorted = taken.to_vec();
    sorted.sort_unstable();
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    figure(&format!(
        "{what}: {least:?} asked, least {:?}, middle {middle:?}",
        sorted[0]
    ));
    ensure!(
        sorted[0] >= least,
        "{what}: {:?} is less than {least:?}",
        sorted[0]
    );
    ensure!(
        middle <= least + SLACK,
        "{what}: {middle:?} in the middle, {least:?} were asked"
    );
    Ok(())
}

fn directions(scene: &mut Scene, ip: IpAddr) -> Result<()> {
    scene.prepare_fq()?;
    let deadline = scene.deadline();
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let (server, other) = (target.udp_echo(ip)?, bystander.udp_echo(ip)?);
    for (what, direction, ways) in [
        ("out", DIRECTION_OUT, 1),
        ("in", DIRECTION_IN, 1),
        ("both", DIRECTION_IN | DIRECTION_OUT, 2),
    ] {
        let rule = Plan::always().direction(direction);
        let rule = rule.latency(DELAY, Duration::ZERO, jitter::UNIFORM);
        let armed = scene.arm(UNIT, rule)?;
        takes(what, &round_trips(server, PINGS, deadline)?, DELAY * ways)?;
        takes(
            "bystander",
            &round_trips(other, PINGS, deadline)?,
            Duration::ZERO,
        )?;
        let counts = scene.disarm(armed)?;
        let expected = PINGS * u64::from(ways);
        ensure!(
            (counts.matched, counts.injected) == (expected, expected),
            "{what}: {expected} packets, the kernel counts {counts:?}"
        );
        takes(
            "after",
            &round_trips(server, PINGS, deadline)?,
            Duration::ZERO,
        )?;
    }
    Ok(())
}

fn tcp(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let mut target = scene.unit(UNIT)?;
    let server = target.tcp_echo(Ipv4Addr::LOCALHOST)?;
    let mut stream = streams::connect(server, 0)?;
    stream.set_nodelay(true)?;
    for (what, direction, ways) in [("in", DIRECTION_IN, 1), ("both", 3, 2)] {
        let rule = Plan::always().direction(direction).protocol(TCP);
        let armed = scene.arm(UNIT, rule.latency(DELAY, Duration::ZERO, jitter::UNIFORM))?;
        let mut taken = Vec::new();
        for n in 0..PINGS {
            let started = Instant::now();
            let mut answer = [0; MESSAGE_LEN];
            stream.write_all(&message(n, 0))?;
            stream.read_exact(&mut answer)?;
            taken.push(started.elapsed());
            ensure!(answer == message(n, 0), "request {n} has another's answer");
        }
        takes(what, &taken, DELAY * ways)?;
        let counts = scene.disarm(armed)?;
        ensure!(
            counts.matched >= PINGS * u64::from(ways) && counts.injected == counts.matched,
            "{what}: {counts:?}"
        );
    }
    Ok(())
}

/// Packets go one after the other, so each one's own delay is known beforehand.
fn jitters(scene: &mut Scene) -> Result<()> {
    const TIMES: u64 = 16;
    const JITTER: Duration = Duration::from_millis(100);
    scene.prepare_fq()?;
    let mut target = scene.unit(UNIT)?;
    let server = target.udp_echo(Ipv4Addr::LOCALHOST)?;
    for (distribution, seed) in [
        (jitter::UNIFORM, 1),
        (jitter::NORMAL, 2),
        (jitter::PARETO, 3),
    ] {
        let plan = Plan::of(1.0, seed).outward();
        let armed = scene.arm(UNIT, plan.latency(DELAY, JITTER, distribution))?;
        let taken = round_trips(server, TIMES, scene.deadline())?;
        let mut beyond = Vec::new();
        for (taken, n) in taken.iter().zip(0..) {
            let (delay_ns, jitter_ns) = (DELAY.as_nanos() as u64, JITTER.as_nanos() as u64);
            let asked = jitter::delay_of(distribution, seed, n, delay_ns, jitter_ns);
            let asked = Duration::from_nanos(asked);
            ensure!(
                *taken >= asked,
                "packet {n} of distribution {distribution} took {taken:?}, {asked:?} were asked"
            );
            beyond.push(*taken - asked);
        }
        takes("beyond the predicted", &beyond, Duration::ZERO)?;
        let (least, most) = (taken.iter().min(), taken.iter().max());
        ensure!(
            most.zip(least)
                .is_some_and(|(most, least)| *most - *least > JITTER / 4),
            "no variation: {taken:?}"
        );
        let counts = scene.disarm(armed)?;
        ensure!(
            (counts.matched, counts.injected) == (TIMES, TIMES),
            "{counts:?}"
        );
    }
    Ok(())
}

fn filters(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let deadline = scene.deadline();
    let ip = Ipv4Addr::LOCALHOST;
    let mut target = scene.unit(UNIT)?;
    let (covered, other) = (target.udp_echo(ip)?, target.udp_echo(ip)?);
    for direction in [DIRECTION_IN, DIRECTION_OUT] {
        let plan = Plan::always().direction(direction);
        let rule = plan.port(covered.port());
        let armed = scene.arm(UNIT, rule.latency(DELAY, Duration::ZERO, jitter::UNIFORM))?;
        takes("the port", &round_trips(covered, PINGS, deadline)?, DELAY)?;
        takes(
            "another port",
            &round_trips(other, PINGS, deadline)?,
            Duration::ZERO,
        )?;
        let counts = scene.disarm(armed)?;
        ensure!(counts.matched == PINGS, "the port: {counts:?}");

        let rule = plan.protocol(TCP);
        let armed = scene.arm(UNIT, rule.latency(DELAY, Duration::ZERO, jitter::UNIFORM))?;
        takes(
            "another protocol",
            &round_trips(covered, PINGS, deadline)?,
            Duration::ZERO,
        )?;
        let counts = scene.disarm(armed)?;
        ensure!(counts.matched == 0, "another protocol: {counts:?}");
    }
    Ok(())
}

fn two_rules(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let mut target = scene.unit(UNIT)?;
    let server = target.udp_echo(Ipv4Addr::LOCALHOST)?;
    let plan = Plan::always().outward();
    for (id, delay) in [(1, DELAY), (2, DELAY / 2)] {
        scene.arm(
            UNIT,
            plan.id(id).latency(delay, Duration::ZERO, jitter::UNIFORM),
        )?;
    }
    let taken = round_trips(server, PINGS, scene.deadline())?;
    takes("two rules", &taken, DELAY * 3 / 2)
}

/// 12 s in all, of which `fq` would keep 10.
fn beyond(scene: &mut Scene) -> Result<()> {
    const EACH: Duration = Duration::from_secs(6);
    scene.prepare_fq()?;
    let mut target = scene.unit(UNIT)?;
    let server = target.udp_echo(Ipv4Addr::LOCALHOST)?;
    let plan = Plan::always().outward();
    let mut armed = Vec::new();
    for id in [1, 2] {
        let rule = plan.id(id).latency(EACH, Duration::ZERO, jitter::UNIFORM);
        armed.push(scene.arm(UNIT, rule)?);
    }
    let deadline = scene.deadline() + EACH * 2;
    let taken = round_trips(server, 1, deadline)?[0];
    figure(&format!("two rules of 6 s: {taken:?}"));
    ensure!(
        taken > EACH && taken.as_nanos() as u64 >= departure::LATEST_NS,
        "a packet took {taken:?}"
    );
    for armed in armed {
        let counts = scene.disarm(armed)?;
        ensure!((counts.matched, counts.injected) == (1, 1), "{counts:?}");
    }
    Ok(())
}

fn lease(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let deadline = scene.deadline();
    let mut target = scene.unit(UNIT)?;
    let server = target.udp_echo(Ipv4Addr::LOCALHOST)?;
    let rule = Plan::always().direction(DIRECTION_IN | DIRECTION_OUT);
    let armed = scene.arm(UNIT, rule.latency(DELAY, Duration::ZERO, jitter::UNIFORM))?;
    takes("held", &round_trips(server, PINGS, deadline)?, DELAY * 2)?;
    scene.loader.set_lease(0)?;
    takes(
        "lapsed",
        &round_trips(server, PINGS, deadline)?,
        Duration::ZERO,
    )?;
    scene
        .loader
        .set_lease(crate::rules::after(crate::rules::LONG))?;
    takes("renewed", &round_trips(server, PINGS, deadline)?, DELAY * 2)?;
    let counts = scene.counts(armed)?;
    ensure!(
        (counts.matched, counts.skipped) == (4 * PINGS, 2 * PINGS),
        "{counts:?}"
    );
    Ok(())
}
