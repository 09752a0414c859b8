//! `packet-loss` of some packets only: by protocol, by peer, by what opens a connection, by number, and in bursts.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use observastack_loader::abi::packet::{Address, FILTER_SYN_ONLY, TCP, UDP};

use super::Case;
use crate::{
    rules::{LOCALHOST, Plan},
    scene::{Scene, figure},
    traffic::{MESSAGE_LEN, RAW_PROTOCOL, message, outside, raw_socket, send, settled},
};

pub(super) const CASES: &[Case] = &[
    ("of_a_protocol_leave_others_alone", protocol),
    ("of_an_ipv4_peer_leave_others_alone", ipv4_peer),
    ("of_an_ipv6_peer_leave_others_alone", ipv6_peer),
    (
        "of_connections_that_open_leave_those_that_exist_alone",
        syn_only,
    ),
    ("take_every_nth_after_the_first_and_no_more", counted),
    ("in_bursts_take_exactly_the_predicted_datagrams", bursts),
];

const UNIT: &str = "target.service";
const SOME: u64 = 200;

/// How long a connection that is not to come is waited for: less than TCP waits before it asks again.
const PATIENCE: Duration = Duration::from_millis(400);

fn echoes(stream: &mut TcpStream, n: u64) -> Result<()> {
    let request = message(n, 0);
    stream.write_all(&request)?;
    let mut answer = [0; MESSAGE_LEN];
    stream
        .read_exact(&mut answer)
        .with_context(|| format!("request {n} has no answer"))?;
    ensure!(answer == request, "request {n} has another's answer");
    Ok(())
}

fn connected(address: SocketAddr, deadline: Duration) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(deadline))?;
    Ok(stream)
}

fn protocol(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let (sink, raw) = (target.udp_sink(LOCALHOST)?, target.raw_sink()?);
    let other = bystander.udp_sink(LOCALHOST)?;
    let server = target.tcp_echo(LOCALHOST)?;
    let (socket, raw_socket) = (outside(LOCALHOST)?, raw_socket()?);
    let mut sent = 0;
    let mut lost = [0, 0];
    for protocol in [UDP, RAW_PROTOCOL, TCP] {
        let mut stream = connected(server, scene.deadline())?;
        let armed = scene.arm(UNIT, Plan::always().protocol(protocol).loss())?;
        send(&socket, &[sink.address, other.address], sent..sent + SOME)?;
        for n in sent..sent + SOME {
            raw_socket.send_to(&message(n, 0), (LOCALHOST, 0))?;
        }
        sent += SOME;
        // What is lost here is lost for good, so a stream only runs where its protocol isn't meant.
        let tcp = if protocol == TCP {
            u64::from(TcpStream::connect_timeout(&server, PATIENCE).is_err())
        } else {
            echoes(&mut stream, 1)?;
            0
        };
        for (number, (sink, of)) in [(sink, UDP), (raw, RAW_PROTOCOL)].into_iter().enumerate() {
            lost[number] += if protocol == of { SOME } else { 0 };
            let received = wait_for(scene, &mut target, sink, sent - lost[number])?;
            ensure!(
                received == sent - lost[number],
                "protocol {protocol}: {received} of protocol {of} arrived, {sent} sent, {} lost",
                lost[number]
            );
        }
        let counts = scene.disarm(armed)?;
        let expected = if protocol == TCP { tcp } else { SOME };
        // A connection that gets no answer asks again, as often as there is time.
        let is_all = if protocol == TCP {
            counts.injected >= expected
        } else {
            counts.injected == expected
        };
        ensure!(
            expected > 0 && is_all && counts.matched == counts.injected,
            "protocol {protocol}: {expected} were lost, the kernel counts {counts:?}"
        );
        // What a stream sends again would be the next round's.
        drop(stream);
    }
    settled(scene, &mut bystander, other, &[], sent)?;
    Ok(())
}

/// How many messages a sink has when it has at least this many.
fn wait_for(
    scene: &Scene,
    client: &mut crate::agent::Agent,
    sink: crate::agent::Sink,
    least: u64,
) -> Result<u64> {
    let mut received = 0;
    crate::wait::until(scene.deadline(), "messages arrive", || {
        received = client.received(sink)?.len() as u64;
        Ok(received >= least)
    })?;
    Ok(received)
}

fn ipv4_peer(scene: &mut Scene) -> Result<()> {
    let bits = |ip: Ipv4Addr| Address::v4(ip.to_bits());
    let (near, far) = (LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let host = Address::v6([0xff; 16]);
    // 127.0.0.2/31 has .2 and .3; an IPv4 network of n bits is one of 96 + n here.
    let pair = Address::v6((u128::MAX << 1).to_be_bytes());
    let all = Address::v6((u128::MAX << 32).to_be_bytes());
    for (peer, mask, lost) in [
        (bits(far), host, [false, true]),
        (bits(near), host, [true, false]),
        (bits(Ipv4Addr::new(127, 0, 0, 3)), pair, [false, true]),
        (bits(Ipv4Addr::new(10, 1, 2, 3)), all, [true, true]),
        (bits(Ipv4Addr::new(10, 1, 2, 3)), host, [false, false]),
    ] {
        peer_is_lost(
            scene,
            [near.into(), far.into()],
            near.into(),
            (peer, mask),
            lost,
        )?;
    }
    Ok(())
}

fn ipv6_peer(scene: &mut Scene) -> Result<()> {
    let ip = Ipv6Addr::LOCALHOST;
    let bits =
        |text: &str| -> Result<Address> { Ok(Address::v6(text.parse::<Ipv6Addr>()?.octets())) };
    let mask = |length: u32| Address::v6((u128::MAX << (128 - length)).to_be_bytes());
    for (peer, mask, lost) in [
        (bits("::1")?, mask(128), true),
        (bits("::2")?, mask(127), false),
        (bits("::2")?, mask(126), true),
        (bits("2001:db8::1")?, mask(32), false),
        // An IPv4 network is no IPv6 one.
        (bits("::ffff:0:1")?, mask(96), false),
    ] {
        peer_is_lost(
            scene,
            [ip.into(), ip.into()],
            ip.into(),
            (peer, mask),
            [lost; 2],
        )?;
    }
    Ok(())
}

/// Whose datagrams are lost, of two peers.
fn peer_is_lost(
    scene: &mut Scene,
    peers: [IpAddr; 2],
    to: IpAddr,
    (peer, mask): (Address, Address),
    lost: [bool; 2],
) -> Result<()> {
    let path = scene.make_unit(UNIT)?;
    let mut target = scene.client(&path)?;
    let mut bystander = scene.unit("bystander.service")?;
    let (sink, other) = (target.udp_sink(to)?, bystander.udp_sink(to)?);
    let armed = scene.arm(UNIT, Plan::always().peer(peer, mask).loss())?;
    let mut expected = Vec::new();
    for ((from, lost), n) in peers.into_iter().zip(lost).zip(0..) {
        let numbers = n * SOME..(n + 1) * SOME;
        send(
            &outside(from)?,
            &[sink.address, other.address],
            numbers.clone(),
        )?;
        if !lost {
            expected.extend(numbers);
        }
    }
    let (received, counts) = settled(scene, &mut target, sink, &[armed], 2 * SOME)?;
    ensure!(
        received == expected,
        "{peer:x?} {mask:x?}: {} arrived, {} were to",
        received.len(),
        expected.len()
    );
    let misses = 2 * SOME - expected.len() as u64;
    ensure!(
        (counts[0].matched, counts[0].injected) == (misses, misses),
        "{misses} were lost, the kernel counts {:?}",
        counts[0]
    );
    settled(scene, &mut bystander, other, &[], 2 * SOME)?;
    scene.disarm(armed)?;
    drop((target, bystander));
    scene.remove(&path)?;
    let bystander = scene.slice().join("bystander.service");
    scene.remove(&bystander)
}

fn syn_only(scene: &mut Scene) -> Result<()> {
    const NEW: u64 = 3;
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let (server, other) = (target.tcp_echo(LOCALHOST)?, bystander.tcp_echo(LOCALHOST)?);
    let mut stream = connected(server, scene.deadline())?;
    echoes(&mut stream, 0)?;
    let armed = scene.arm(UNIT, Plan::always().flags(FILTER_SYN_ONLY).loss())?;
    for n in 1..SOME {
        echoes(&mut stream, n)?;
    }
    for _ in 0..NEW {
        ensure!(
            TcpStream::connect_timeout(&server, PATIENCE).is_err(),
            "a new connection opens"
        );
        TcpStream::connect_timeout(&other, scene.deadline()).context("the bystander's")?;
    }
    echoes(&mut stream, SOME)?;
    let counts = scene.disarm(armed)?;
    // A machine that takes its time may ask a second time before it gives up.
    ensure!(
        (NEW..=2 * NEW).contains(&counts.matched) && counts.injected == counts.matched,
        "{NEW} connections were asked for, the kernel counts {counts:?}"
    );
    echoes(&mut connected(server, scene.deadline())?, 0)
}

fn counted(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let sink = target.udp_sink(LOCALHOST)?;
    let socket = outside(LOCALHOST)?;
    let (mut sent, mut expected) = (0, Vec::new());
    for (plan, max) in [
        (Plan::always().every(3), u64::MAX),
        (Plan::always().after_events(17), u64::MAX),
        (Plan::always().at_most(5), 5),
        (Plan::of(0.5, 12).every(4).after_events(10).at_most(7), 7),
        (Plan::of(0.5, 13).after_events(50), u64::MAX),
    ] {
        let armed = scene.arm(UNIT, plan.loss())?;
        send(&socket, &[sink.address], sent..sent + SOME)?;
        let faulted: Vec<u64> = (0..SOME)
            .filter(|n| plan.faults(*n))
            .take(usize::try_from(max).unwrap_or(usize::MAX))
            .collect();
        ensure!(
            !faulted.is_empty() && (faulted.len() as u64) < SOME,
            "a plan that shows nothing"
        );
        expected.extend((0..SOME).filter(|n| !faulted.contains(n)).map(|n| sent + n));
        sent += SOME;
        let seen = (expected.len() + faulted.len()) as u64;
        let (received, counts) = settled(scene, &mut target, sink, &[armed], seen)?;
        ensure!(
            received == expected,
            "{:?}: other datagrams arrived than predicted",
            plan.head
        );
        ensure!(
            (counts[0].matched, counts[0].injected) == (SOME, faulted.len() as u64),
            "{:?}: {:?}",
            plan.head,
            counts[0]
        );
        scene.disarm(armed)?;
    }
    Ok(())
}

fn bursts(scene: &mut Scene) -> Result<()> {
    const DATAGRAMS: u64 = 5_000;
    let (enter, leave) = (0.05, 0.25);
    let plan = Plan::bursts(enter, leave, 2024);
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let (sink, other) = (target.udp_sink(LOCALHOST)?, bystander.udp_sink(LOCALHOST)?);
    let armed = scene.arm(UNIT, plan.loss())?;
    send(
        &outside(LOCALHOST)?,
        &[sink.address, other.address],
        0..DATAGRAMS,
    )?;
    let (received, counts) = settled(scene, &mut target, sink, &[armed], DATAGRAMS)?;
    let expected: Vec<u64> = (0..DATAGRAMS).filter(|n| !plan.faults(*n)).collect();
    ensure!(
        received == expected,
        "other datagrams arrived than predicted"
    );
    let lost = DATAGRAMS - received.len() as u64;
    ensure!(
        (counts[0].matched, counts[0].injected) == (DATAGRAMS, lost),
        "{lost} were lost, the kernel counts {:?}",
        counts[0]
    );
    // By what arrived alone: a gap in the numbers is a burst.
    let edges = [0].into_iter().chain(received.iter().map(|n| n + 1));
    let ends = received.iter().copied().chain([DATAGRAMS]);
    let gaps = edges.zip(ends).filter(|(edge, end)| edge < end).count() as f64;
    let mean = lost as f64 / gaps;
    figure(&format!(
        "{lost} lost in {gaps} bursts: {mean:.2} on average"
    ));
    let sigma = ((1.0 - leave) / (leave * leave) / gaps).sqrt();
    ensure!(
        (mean - 1.0 / leave).abs() < 3.0 * sigma,
        "bursts of {mean:.2} on average, {} were asked",
        1.0 / leave
    );
    let share = lost as f64 / DATAGRAMS as f64;
    let asked = enter / (enter + leave);
    ensure!(
        (share - asked).abs() < 0.25 * asked,
        "{share:.3} lost, {asked:.3} were asked"
    );
    settled(scene, &mut bystander, other, &[], DATAGRAMS)?;
    Ok(())
}
