//! `connect-error`: `connect(2)` fails with the chosen errno, for the unit that was chosen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use observastack_loader::abi::packet::{Address, TCP, UDP};

use super::Case;
use crate::{
    agent::Protocol,
    rules::{LOCALHOST, Plan, errno},
    scene::Scene,
    traffic::{Acceptor, outside},
};

pub(super) const CASES: &[Case] = &[
    ("gives_the_errno_to_ipv4", ipv4),
    ("gives_the_errno_to_ipv6", ipv6),
    ("gives_the_errno_to_ipv4_mapped_ipv6", ipv4_mapped),
    ("gives_every_chosen_errno", every_errno),
    (
        "of_50_percent_fails_exactly_the_predicted_tcp_connects",
        predicted_tcp,
    ),
    (
        "of_50_percent_fails_exactly_the_predicted_udp_connects",
        predicted_udp,
    ),
    ("with_a_port_leaves_other_ports_alone", port),
    ("with_a_protocol_leaves_others_alone", protocol),
    ("with_a_peer_leaves_others_alone", peer),
    ("of_two_rules_takes_the_first_that_faults", two_rules),
    (
        "leaves_bystanders_and_accepted_connections_alone",
        bystander,
    ),
];

const TIMES: u32 = 10;

fn ipv4(scene: &mut Scene) -> Result<()> {
    let ip = Ipv4Addr::LOCALHOST;
    fails_until_cleared(scene, ip.into(), ip.into())
}

fn ipv6(scene: &mut Scene) -> Result<()> {
    let ip = Ipv6Addr::LOCALHOST;
    fails_until_cleared(scene, ip.into(), ip.into())
}

/// An IPv6 socket that connects to an IPv4 server, as dual-stack runtimes do.
fn ipv4_mapped(scene: &mut Scene) -> Result<()> {
    let ip = Ipv4Addr::LOCALHOST;
    fails_until_cleared(scene, ip.into(), ip.to_ipv6_mapped().into())
}

fn fails_until_cleared(scene: &mut Scene, listen: IpAddr, connect: IpAddr) -> Result<()> {
    let (tcp, udp) = (Acceptor::start(listen)?, outside(listen)?);
    let servers = [
        (Protocol::Tcp, SocketAddr::new(connect, tcp.address.port())),
        (
            Protocol::Udp,
            SocketAddr::new(connect, udp.local_addr()?.port()),
        ),
    ];
    let mut client = scene.unit("target.service")?;
    for (protocol, address) in servers {
        let before = client.connect(protocol, address, TIMES)?;
        ensure!(
            all(&before, errno::OK),
            "{protocol} before the fault: {before:?}"
        );

        let armed = scene.arm("target.service", Plan::always().error(errno::ENETUNREACH))?;
        let faulted = client.connect(protocol, address, TIMES)?;
        ensure!(
            all(&faulted, errno::ENETUNREACH),
            "{protocol} under the fault: {faulted:?}"
        );
        let counts = scene.disarm(armed)?;
        ensure!(
            (counts.matched, counts.injected) == (u64::from(TIMES), u64::from(TIMES)),
            "{protocol}: {counts:?}"
        );

        let after = client.connect(protocol, address, TIMES)?;
        ensure!(
            all(&after, errno::OK),
            "{protocol} after the fault: {after:?}"
        );
    }
    Ok(())
}

fn every_errno(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let mut client = scene.unit("target.service")?;
    for errno in [
        errno::ECONNREFUSED,
        errno::ETIMEDOUT,
        errno::EACCES,
        errno::EHOSTUNREACH,
        errno::ENETUNREACH,
    ] {
        let armed = scene.arm("target.service", Plan::always().error(errno))?;
        let seen = client.connect(Protocol::Tcp, server.address, TIMES)?;
        ensure!(all(&seen, errno), "{errno} was asked, seen: {seen:?}");
        scene.disarm(armed)?;
    }
    Ok(())
}

fn predicted_tcp(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    predicted(scene, Protocol::Tcp, server.address)
}

fn predicted_udp(scene: &mut Scene) -> Result<()> {
    let server = outside(LOCALHOST)?;
    predicted(scene, Protocol::Udp, server.local_addr()?)
}

fn predicted(scene: &mut Scene, protocol: Protocol, address: SocketAddr) -> Result<()> {
    const MANY: u32 = 400;
    let plan = Plan::of(0.5, 4711);
    let mut client = scene.unit("target.service")?;
    let armed = scene.arm("target.service", plan.error(errno::ETIMEDOUT))?;
    let seen = client.connect(protocol, address, MANY)?;
    let expected: Vec<i32> = (0..u64::from(MANY))
        .map(|n| {
            if plan.faults(n) {
                errno::ETIMEDOUT
            } else {
                errno::OK
            }
        })
        .collect();
    ensure!(
        seen == expected,
        "expected {expected:?}, the client saw {seen:?}"
    );
    let counts = scene.counts(armed)?;
    let failed = seen.iter().filter(|errno| **errno != errno::OK).count() as u64;
    ensure!(
        (counts.matched, counts.injected) == (u64::from(MANY), failed),
        "the client saw {failed} fail, the kernel counts {counts:?}"
    );
    Ok(())
}

fn port(scene: &mut Scene) -> Result<()> {
    let (covered, other) = (Acceptor::start(LOCALHOST)?, Acceptor::start(LOCALHOST)?);
    let mut client = scene.unit("target.service")?;
    let rule = Plan::always()
        .port(covered.address.port())
        .error(errno::ETIMEDOUT);
    let armed = scene.arm("target.service", rule)?;
    let seen = client.connect(Protocol::Tcp, other.address, TIMES)?;
    ensure!(all(&seen, errno::OK), "the other port: {seen:?}");
    let seen = client.connect(Protocol::Tcp, covered.address, TIMES)?;
    ensure!(all(&seen, errno::ETIMEDOUT), "the covered port: {seen:?}");
    let counts = scene.counts(armed)?;
    ensure!(
        counts.matched == u64::from(TIMES),
        "the other port was counted: {counts:?}"
    );
    Ok(())
}

fn protocol(scene: &mut Scene) -> Result<()> {
    let (tcp, udp) = (Acceptor::start(LOCALHOST)?, outside(LOCALHOST)?);
    let servers = [
        (Protocol::Tcp, tcp.address),
        (Protocol::Udp, udp.local_addr()?),
    ];
    for (number, of) in [(TCP, Protocol::Tcp), (UDP, Protocol::Udp)] {
        let plan = Plan::always().protocol(number);
        let calls = servers.map(|(protocol, at)| (protocol, at, protocol == of));
        fails_where(scene, plan, &calls)?;
    }
    Ok(())
}

fn peer(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(Ipv6Addr::UNSPECIFIED)?;
    let port = server.address.port();
    let at = |ip: IpAddr| (Protocol::Tcp, SocketAddr::new(ip, port));
    let near = Ipv4Addr::LOCALHOST;
    let far = Ipv4Addr::new(127, 0, 0, 2);
    let servers = [
        at(near.into()),
        at(far.into()),
        at(far.to_ipv6_mapped().into()),
        at(Ipv6Addr::LOCALHOST.into()),
    ];
    let mask = |bits: u32| Address::v6((u128::MAX << (128 - bits)).to_be_bytes());
    let v6 = |ip: Ipv6Addr| Address::v6(ip.octets());
    for (peer, mask, fail) in [
        (
            Address::v4(far.to_bits()),
            mask(128),
            [false, true, true, false],
        ),
        // 127.0.0.0/31: .0 and .1.
        (
            Address::v4(near.to_bits() - 1),
            mask(127),
            [true, false, false, false],
        ),
        (
            Address::v4(near.to_bits()),
            mask(104),
            [true, true, true, false],
        ),
        (
            v6(Ipv6Addr::LOCALHOST),
            mask(128),
            [false, false, false, true],
        ),
    ] {
        let calls = std::array::from_fn::<_, 4, _>(|n| (servers[n].0, servers[n].1, fail[n]));
        fails_where(scene, Plan::always().peer(peer, mask), &calls)?;
    }
    Ok(())
}

/// Which of some connects fail, and that the kernel counts those and no others.
fn fails_where(
    scene: &mut Scene,
    plan: Plan,
    calls: &[(Protocol, SocketAddr, bool)],
) -> Result<()> {
    let path = scene.make_unit("target.service")?;
    let mut client = scene.client(&path)?;
    let armed = scene.arm("target.service", plan.error(errno::EACCES))?;
    for (protocol, address, fails) in calls {
        let seen = client.connect(*protocol, *address, TIMES)?;
        let expected = if *fails { errno::EACCES } else { errno::OK };
        ensure!(
            all(&seen, expected),
            "{protocol} {address} under {:?}: expected {expected}, seen {seen:?}",
            plan.filter
        );
    }
    let failed = calls.iter().filter(|(_, _, fails)| *fails).count() as u64 * u64::from(TIMES);
    let counts = scene.disarm(armed)?;
    ensure!(
        failed > 0 && (counts.matched, counts.injected) == (failed, failed),
        "{failed} failed, the kernel counts {counts:?}"
    );
    drop(client);
    scene.remove(&path)
}

fn two_rules(scene: &mut Scene) -> Result<()> {
    const MANY: u32 = 200;
    let server = Acceptor::start(LOCALHOST)?;
    let mut client = scene.unit("target.service")?;
    let (first, second) = (Plan::of(0.5, 6).id(1), Plan::of(0.5, 7).id(2));
    let armed = [
        scene.arm("target.service", first.error(errno::EACCES))?,
        scene.arm("target.service", second.error(errno::EHOSTUNREACH))?,
    ];
    let seen = client.connect(Protocol::Tcp, server.address, MANY)?;
    let mut second_n = 0..;
    let expected: Vec<i32> = (0..u64::from(MANY))
        .map(|n| {
            if first.faults(n) {
                errno::EACCES
            } else if second_n.next().is_some_and(|n| second.faults(n)) {
                errno::EHOSTUNREACH
            } else {
                errno::OK
            }
        })
        .collect();
    ensure!(
        seen == expected,
        "expected {expected:?}, the client saw {seen:?}"
    );
    for (armed, errno) in armed.into_iter().zip([errno::EACCES, errno::EHOSTUNREACH]) {
        let counts = scene.counts(armed)?;
        let failed = seen.iter().filter(|seen| **seen == errno).count() as u64;
        ensure!(
            counts.injected == failed && failed > 0,
            "the client saw {failed} fail with {errno}, the kernel counts {counts:?}"
        );
    }
    Ok(())
}

fn bystander(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let mut client = scene.unit("target.service")?;
    let mut bystander = scene.unit("bystander.service")?;
    let address = client.tcp_echo(LOCALHOST)?;
    let armed = scene.arm("target.service", Plan::always().error(errno::ECONNREFUSED))?;
    let seen = bystander.connect(Protocol::Tcp, server.address, TIMES)?;
    ensure!(all(&seen, errno::OK), "the bystander saw {seen:?}");
    // Others connect to the target as before: the fault is about its own calls.
    let seen = bystander.connect(Protocol::Tcp, address, TIMES)?;
    ensure!(all(&seen, errno::OK), "the target's callers saw {seen:?}");
    ensure!(
        scene.counts(armed)?.matched == 0,
        "others' connects were counted"
    );
    let seen = client.connect(Protocol::Tcp, server.address, TIMES)?;
    ensure!(all(&seen, errno::ECONNREFUSED), "the target saw {seen:?}");
    Ok(())
}

/// Whether each of some results is this one.
fn all(seen: &[i32], errno: i32) -> bool {
    !seen.is_empty() && seen.iter().all(|seen| *seen == errno)
}
