//! `bind-error`: `bind(2)` fails with the chosen errno, for the unit that was chosen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use observastack_loader::abi::packet::{Address, TCP, UDP};
use socket2::{Domain, Socket, Type};

use super::Case;
use crate::{
    agent::Protocol,
    rules::{LOCALHOST, Plan, errno},
    scene::Scene,
};

pub(super) const CASES: &[Case] = &[
    ("gives_every_chosen_errno_until_it_is_cleared", every_errno),
    ("fails_exactly_the_predicted_binds", predicted),
    ("with_a_port_leaves_other_ports_alone", port),
    ("with_a_protocol_leaves_others_alone", protocol),
    ("with_an_address_leaves_others_alone", address),
];

const UNIT: &str = "target.service";
const TIMES: u32 = 10;
const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn any_port(ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), 0)
}

/// Two ports that nobody has, with either protocol: also none that a connection has just left.
fn free_ports() -> Result<[u16; 2]> {
    let mut found = Vec::new();
    // They are held until both are found, so that they differ. Sockets that never listened leave nothing behind.
    let mut held = Vec::new();
    while found.len() < 2 {
        let tcp = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        tcp.bind(&any_port(LOCALHOST).into())?;
        let address = tcp.local_addr()?.as_socket().context("no address")?;
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        if udp.bind(&address.into()).is_ok() {
            found.push(address.port());
        }
        held.push((tcp, udp));
    }
    Ok([found[0], found[1]])
}

fn every_errno(scene: &mut Scene) -> Result<()> {
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    for ip in [
        IpAddr::from(LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
        Ipv6Addr::UNSPECIFIED.into(),
    ] {
        for errno in [errno::EADDRINUSE, errno::EACCES, errno::EIO] {
            let armed = scene.arm(UNIT, Plan::always().bind_error(errno))?;
            for protocol in BOTH {
                let seen = target.bind(protocol, any_port(ip), TIMES)?;
                ensure!(
                    seen == [errno; TIMES as usize],
                    "{errno} was asked for {protocol} {ip}, seen: {seen:?}"
                );
                let seen = bystander.bind(protocol, any_port(ip), TIMES)?;
                ensure!(
                    seen == [errno::OK; TIMES as usize],
                    "the bystander saw {seen:?}"
                );
            }
            let counts = scene.disarm(armed)?;
            let expected = u64::from(2 * TIMES);
            ensure!(
                (counts.matched, counts.injected) == (expected, expected),
                "{counts:?}"
            );
            for protocol in BOTH {
                let seen = target.bind(protocol, any_port(ip), TIMES)?;
                ensure!(
                    seen == [errno::OK; TIMES as usize],
                    "after the fault: {seen:?}"
                );
            }
        }
    }
    Ok(())
}

fn predicted(scene: &mut Scene) -> Result<()> {
    const MANY: u32 = 300;
    let plan = Plan::of(0.4, 815).after_events(20);
    let mut target = scene.unit(UNIT)?;
    let armed = scene.arm(UNIT, plan.bind_error(errno::EADDRINUSE))?;
    let seen = target.bind(Protocol::Udp, any_port(LOCALHOST), MANY)?;
    let expected: Vec<i32> = (0..u64::from(MANY))
        .map(|n| {
            if plan.faults(n) {
                errno::EADDRINUSE
            } else {
                errno::OK
            }
        })
        .collect();
    ensure!(seen == expected, "expected {expected:?}, seen {seen:?}");
    let counts = scene.counts(armed)?;
    ensure!(
        counts.matched == u64::from(MANY)
            && counts.injected == plan.faulted_of(MANY.into())
            && counts.injected > 0,
        "{counts:?}"
    );
    Ok(())
}

/// Which of some binds fail, and that the kernel counts those and no others.
fn fails_where(
    scene: &mut Scene,
    plan: Plan,
    binds: &[(Protocol, SocketAddr, bool)],
) -> Result<()> {
    let path = scene.make_unit(UNIT)?;
    let mut target = scene.client(&path)?;
    let armed = scene.arm(UNIT, plan.bind_error(errno::EACCES))?;
    for (protocol, address, fails) in binds {
        let seen = target.bind(*protocol, *address, TIMES)?;
        let expected = if *fails { errno::EACCES } else { errno::OK };
        ensure!(
            seen == [expected; TIMES as usize],
            "{protocol} {address}: expected {expected}, seen {seen:?}"
        );
    }
    let failed = binds.iter().filter(|(_, _, fails)| *fails).count() as u64 * u64::from(TIMES);
    let counts = scene.disarm(armed)?;
    ensure!(
        failed > 0 && (counts.matched, counts.injected) == (failed, failed),
        "{failed} failed, the kernel counts {counts:?}"
    );
    drop(target);
    scene.remove(&path)
}

fn port(scene: &mut Scene) -> Result<()> {
    let [covered, other] = free_ports()?;
    let at = |port| SocketAddr::from((LOCALHOST, port));
    let mut binds = Vec::new();
    for protocol in BOTH {
        binds.push((protocol, at(covered), true));
        binds.push((protocol, at(other), false));
        binds.push((protocol, at(0), false));
    }
    fails_where(scene, Plan::always().port(covered), &binds)
}

fn protocol(scene: &mut Scene) -> Result<()> {
    let at = any_port(LOCALHOST);
    for (number, of) in [(TCP, Protocol::Tcp), (UDP, Protocol::Udp)] {
        let binds = BOTH.map(|protocol| (protocol, at, protocol == of));
        fails_where(scene, Plan::always().protocol(number), &binds)?;
    }
    Ok(())
}

fn address(scene: &mut Scene) -> Result<()> {
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let binds = [
        (Protocol::Tcp, any_port(LOCALHOST), true),
        (Protocol::Tcp, any_port(other), false),
        (Protocol::Tcp, any_port(Ipv6Addr::LOCALHOST), false),
        (Protocol::Udp, any_port(Ipv4Addr::UNSPECIFIED), false),
    ];
    let host = Address::v6([0xff; 16]);
    let plan = Plan::always().peer(Address::v4(LOCALHOST.to_bits()), host);
    fails_where(scene, plan, &binds)?;
    let binds = [
        (Protocol::Tcp, any_port(Ipv6Addr::LOCALHOST), true),
        (Protocol::Udp, any_port(Ipv6Addr::UNSPECIFIED), false),
        (Protocol::Udp, any_port(LOCALHOST), false),
    ];
    let plan = Plan::always().peer(Address::v6(Ipv6Addr::LOCALHOST.octets()), host);
    fails_where(scene, plan, &binds)
}
