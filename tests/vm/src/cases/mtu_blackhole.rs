//! `mtu-blackhole`: what is larger than the limit vanishes, what isn't passes, and a stream stalls until the fault ends.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use observastack_loader::Armed;

use super::Case;
use crate::{
    agent::Agent,
    rules::{LOCALHOST, Plan},
    scene::Scene,
    streams::{self, Received, Receiver},
    traffic::{message, on_one_cpu, outside, settled},
    wait,
};

pub(super) const CASES: &[Case] = &[
    ("takes_exactly_the_larger_ipv4_datagrams", |scene| {
        datagrams(scene, Ipv4Addr::LOCALHOST.into(), 28)
    }),
    ("takes_exactly_the_larger_ipv6_datagrams", |scene| {
        datagrams(scene, Ipv6Addr::LOCALHOST.into(), 48)
    }),
    ("stalls_a_stream_to_the_unit_until_it_is_cleared", inward),
    ("stalls_a_stream_from_the_unit_until_it_is_cleared", outward),
    (
        "knows_how_large_segments_will_be_that_are_not_cut_yet",
        segments,
    ),
];

const UNIT: &str = "target.service";
const MTU: u32 = 1400;

/// How long a stall is looked at: several of TCP's attempts.
const STALL: Duration = Duration::from_secs(1);

const STREAM: u64 = 64 << 10;

/// In both directions. `headers` are those of IP and UDP.
fn datagrams(scene: &mut Scene, ip: IpAddr, headers: usize) -> Result<()> {
    const EACH: u64 = 50;
    let limit = MTU as usize - headers;
    let sizes = [16, 100, limit - 1, limit, limit + 1, 5_000, 30_000];
    let sent = EACH * sizes.len() as u64;
    let fits: Vec<u64> = (0..4 * EACH).collect();
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let mut peer = scene.unit("peer.service")?;

    let (sink, other) = (target.udp_sink(ip)?, bystander.udp_sink(ip)?);
    let armed = scene.arm(UNIT, Plan::always().mtu(MTU))?;
    let socket = outside(ip)?;
    on_one_cpu(|| {
        for (n, size) in (0..sent).zip(sizes.iter().flat_map(|size| [*size; EACH as usize])) {
            let mut datagram = vec![0; size];
            datagram[..16].copy_from_slice(&message(n, 0));
            for address in [sink.address, other.address] {
                socket.send_to(&datagram, address)?;
            }
        }
        Ok(())
    })?;
    let (received, counts) = settled(scene, &mut target, sink, &[armed], sent)?;
    ensure!(
        received == fits && counts[0].matched == 3 * EACH,
        "in: {} arrived, {:?}",
        received.len(),
        counts[0]
    );
    settled(scene, &mut bystander, other, &[], sent)?;
    scene.disarm(armed)?;

    let (sink, other) = (peer.udp_sink(ip)?, peer.udp_sink(ip)?);
    let armed = scene.arm(UNIT, Plan::always().outward().mtu(MTU))?;
    for (size, n) in sizes.into_iter().zip(0..) {
        let numbers = n * EACH..(n + 1) * EACH;
        target.udp_send(ip, sink.address, numbers.clone(), size)?;
        bystander.udp_send(ip, other.address, numbers, size)?;
    }
    let (received, counts) = settled(scene, &mut peer, sink, &[armed], sent)?;
    ensure!(
        received == fits && counts[0].matched == 3 * EACH,
        "out: {} arrived, {:?}",
        received.len(),
        counts[0]
    );
    settled(scene, &mut peer, other, &[], sent)?;
    scene.disarm(armed)?;
    Ok(())
}

fn inward(scene: &mut Scene) -> Result<()> {
    const SMALL: u64 = 100;
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let receiver = target.tcp_receiver(LOCALHOST)?;
    let other = bystander.tcp_receiver(LOCALHOST)?;
    let mut stream = streams::connect(receiver.address, 0)?;
    let armed = scene.arm(UNIT, Plan::always().mtu(MTU))?;
    for n in 0..5 {
        streams::write(&mut stream, n * SMALL, (n + 1) * SMALL)?;
        arrives(scene, &mut target, receiver, (n + 1) * SMALL)?;
    }
    ensure!(
        scene.counts(armed)?.matched == 0,
        "a small message is too large"
    );
    streams::write(&mut stream, 5 * SMALL, 5 * SMALL + STREAM)?;
    // The bystander's stream is as large.
    streams::send_all(streams::connect(other.address, 0)?, STREAM)?;
    thread::sleep(STALL);
    let stalled = target.tcp_received(receiver)?;
    ensure!(
        stalled.bytes == 5 * SMALL,
        "{} bytes arrived, 500 were to",
        stalled.bytes
    );
    ended(scene, armed)?;
    arrives(scene, &mut target, receiver, 5 * SMALL + STREAM)?;
    let last = target.tcp_received(receiver)?;
    ensure!(last.wrong == 0, "{last:?}");
    Ok(())
}

/// Ends a rule that must have seen a segment again and again, and lost each.
fn ended(scene: &mut Scene, armed: Armed) -> Result<()> {
    let counts = scene.disarm(armed)?;
    ensure!(
        counts.matched > 1 && counts.injected == counts.matched,
        "{counts:?}"
    );
    Ok(())
}

fn arrives(
    scene: &Scene,
    client: &mut Agent,
    receiver: crate::agent::Receiver,
    bytes: u64,
) -> Result<()> {
    wait::until(scene.deadline(), &format!("{bytes} bytes arrive"), || {
        Ok(client.tcp_received(receiver)?.bytes == bytes)
    })
}

fn outward(scene: &mut Scene) -> Result<()> {
    let receiver = Receiver::start(LOCALHOST.into())?;
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let armed = scene.arm(UNIT, Plan::always().outward().mtu(MTU))?;
    target.begin_tcp_send(receiver.address, 1000, 0)?;
    target.tcp_sent()?;
    ensure!(
        scene.counts(armed)?.matched == 0,
        "a small message is too large"
    );
    target.begin_tcp_send(receiver.address, STREAM, 0)?;
    bystander.begin_tcp_send(receiver.address, STREAM, 0)?;
    bystander.tcp_sent()?;
    thread::sleep(STALL);
    let expected = Received {
        bytes: 1000 + STREAM,
        wrong: 0,
        ended: 2,
    };
    let stalled = receiver.so_far();
    ensure!(
        stalled == expected,
        "{stalled:?} while it stalls, {expected:?} were to be"
    );
    ended(scene, armed)?;
    target.tcp_sent()?;
    let last = receiver.so_far();
    ensure!(
        (last.bytes, last.wrong) == (1000 + 2 * STREAM, 0),
        "{last:?}"
    );
    Ok(())
}

/// The loopback device takes 64 KiB at once; what counts is the size of the packets that this would become.
fn segments(scene: &mut Scene) -> Result<()> {
    const MSS: u32 = 1000;
    /// IPv4's and TCP's headers; TCP's options count as data here.
    const WIRE: u32 = MSS + 40;
    let outside = Receiver::start(LOCALHOST.into())?;
    let mut target = scene.unit(UNIT)?;
    let inside = target.tcp_receiver(LOCALHOST)?;
    let both = Plan::always().direction(3);

    let armed = scene.arm(UNIT, both.mtu(WIRE))?;
    streams::send_all(streams::connect(inside.address, MSS)?, STREAM)?;
    target.begin_tcp_send(outside.address, STREAM, MSS)?;
    target.tcp_sent()?;
    let counts = scene.disarm(armed)?;
    ensure!(counts.matched == 0, "segments that fit: {counts:?}");

    for plan in [Plan::always(), Plan::always().outward()] {
        let armed = scene.arm(UNIT, plan.mtu(WIRE - 1))?;
        let is_inward = plan.filter.direction == Plan::always().filter.direction;
        let sender = if is_inward {
            let stream = streams::connect(inside.address, MSS)?;
            Some(thread::spawn(move || streams::send_all(stream, STREAM)))
        } else {
            target.begin_tcp_send(outside.address, STREAM, MSS)?;
            None
        };
        wait::until(scene.deadline(), "segments vanish again and again", || {
            Ok(scene.counts(armed)?.injected > 2)
        })?;
        ended(scene, armed)?;
        match sender {
            Some(sender) => {
                sender
                    .join()
                    .map_err(|_| anyhow::anyhow!("a sender panicked"))??;
            }
            None => {
                target.tcp_sent()?;
            }
        }
    }
    let (inside, outside) = (target.tcp_received(inside)?, outside.so_far());
    for received in [inside, outside] {
        ensure!(
            (received.bytes, received.wrong) == (2 * STREAM, 0),
            "{received:?}"
        );
    }
    Ok(())
}
