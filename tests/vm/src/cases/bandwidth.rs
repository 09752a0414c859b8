//! `bandwidth`: a transfer takes as long as its size at the rate, and nobody else's does.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use observastack_loader::abi::packet::TCP;

use super::Case;
use crate::{
    agent::Agent,
    rules::{LOCALHOST, Plan},
    scene::{Scene, figure},
    streams::{self, Receiver},
    traffic::{outside, send, settled},
};

pub(super) const CASES: &[Case] = &[
    ("slows_a_stream_from_the_unit", outward),
    ("slows_a_stream_to_the_unit", inward),
    ("is_shared_by_the_streams_of_a_unit", shared),
    ("of_another_port_is_another_link", port),
    ("lets_datagrams_wait_for_their_turn", datagrams),
    (
        "lets_a_packet_pass_that_takes_longer_than_fq_keeps_any",
        slow,
    ),
];

const UNIT: &str = "target.service";
const BYTES: u64 = 1 << 20;
const BITS_PER_SECOND: u64 = 4_000_000;

/// What an emulated machine takes without any fault, generously.
const SLACK: Duration = Duration::from_secs(2);

/// More than any packet: a stream is at least so many.
const LARGEST: u64 = 256 << 10;

fn at_rate(bytes: u64) -> Duration {
    Duration::from_nanos(bytes * 8 * 1_000_000_000 / BITS_PER_SECOND)
}

/// Whether so many bytes took as long as they were to. The last has arrived when all are off the link, and headers take
/// their time as well.
fn takes(what: &str, took: Duration, bytes: u64) -> Result<()> {
    let least = at_rate(bytes);
    let most = least * 3 / 2 + SLACK;
    figure(&format!(
        "{what}: {bytes} bytes took {took:?}, the rate gives {least:?}"
    ));
    ensure!(
        (least..=most).contains(&took),
        "{what}: {bytes} bytes took {took:?}, not {least:?} to {most:?}"
    );
    Ok(())
}

fn is_quick(what: &str, took: Duration) -> Result<()> {
    ensure!(took < at_rate(BYTES) * 2 / 3, "{what} took {took:?}");
    Ok(())
}

fn sent(client: &mut Agent, to: SocketAddr) -> Result<Duration> {
    client.begin_tcp_send(to, BYTES, 0)?;
    client.tcp_sent()
}

fn outward(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let receiver = Receiver::start(LOCALHOST.into())?;
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    is_quick("before", sent(&mut target, receiver.address)?)?;
    let armed = scene.arm(UNIT, Plan::always().outward().bandwidth(BITS_PER_SECOND))?;
    target.begin_tcp_send(receiver.address, BYTES, 0)?;
    is_quick("the bystander", sent(&mut bystander, receiver.address)?)?;
    takes("out", target.tcp_sent()?, BYTES)?;
    let counts = scene.disarm(armed)?;
    ensure!(
        counts.matched >= BYTES / LARGEST && counts.injected == counts.matched,
        "{counts:?}"
    );
    is_quick("after", sent(&mut target, receiver.address)?)?;
    let received = receiver.so_far();
    ensure!(
        (received.bytes, received.wrong) == (4 * BYTES, 0),
        "{received:?}"
    );
    Ok(())
}

fn inward(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let mut target = scene.unit(UNIT)?;
    let mut bystander = scene.unit("bystander.service")?;
    let receiver = target.tcp_receiver(LOCALHOST)?;
    let other = bystander.tcp_receiver(LOCALHOST)?;
    let armed = scene.arm(UNIT, Plan::always().bandwidth(BITS_PER_SECOND))?;
    let took = streams::send_all(streams::connect(receiver.address, 0)?, BYTES)?;
    takes("in", took, BYTES)?;
    let took = streams::send_all(streams::connect(other.address, 0)?, BYTES)?;
    is_quick("the bystander", took)?;
    let counts = scene.disarm(armed)?;
    ensure!(
        counts.matched >= BYTES / LARGEST && counts.injected == counts.matched,
        "{counts:?}"
    );
    let took = streams::send_all(streams::connect(receiver.address, 0)?, BYTES)?;
    is_quick("after", took)?;
    let received = target.tcp_received(receiver)?;
    ensure!(
        (received.bytes, received.wrong) == (2 * BYTES, 0),
        "{received:?}"
    );
    Ok(())
}

/// One link, not one for each stream or process.
fn shared(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let receiver = Receiver::start(LOCALHOST.into())?;
    let path = scene.make_unit(UNIT)?;
    let mut clients = [scene.client(&path)?, scene.client(&path)?];
    scene.arm(UNIT, Plan::always().outward().bandwidth(BITS_PER_SECOND))?;
    let started = Instant::now();
    for client in &mut clients {
        client.begin_tcp_send(receiver.address, BYTES, 0)?;
    }
    for client in &mut clients {
        client.tcp_sent()?;
    }
    takes("two streams", started.elapsed(), 2 * BYTES)
}

fn port(scene: &mut Scene) -> Result<()> {
    scene.prepare_fq()?;
    let (covered, other) = (
        Receiver::start(LOCALHOST.into())?,
        Receiver::start(LOCALHOST.into())?,
    );
    let mut target = scene.unit(UNIT)?;
    let plan = Plan::always()
        .outward()
        .protocol(TCP)
        .port(covered.address.port());
    let armed = scene.arm(UNIT, plan.bandwidth(BITS_PER_SECOND))?;
    is_quick("another port", sent(&mut target, other.address)?)?;
    let counts = scene.counts(armed)?;
    ensure!(counts.matched == 0, "another port: {counts:?}");
    takes("the port", sent(&mut target, covered.address)?, BYTES)
}

/// Each waits for those before it, and none is lost.
fn datagrams(scene: &mut Scene) -> Result<()> {
    const DATAGRAMS: u64 = 400;
    /// 16 bytes of message, 8 of UDP, 20 of IPv4.
    const LENGTH: u64 = 44;
    scene.prepare_fq()?;
    let mut target = scene.unit(UNIT)?;
    let sink = target.udp_sink(LOCALHOST)?;
    let bits_per_second = DATAGRAMS * LENGTH * 8;
    let armed = scene.arm(UNIT, Plan::always().bandwidth(bits_per_second))?;
    let started = Instant::now();
    send(&outside(LOCALHOST)?, &[sink.address], 0..DATAGRAMS)?;
    let (received, _) = settled(scene, &mut target, sink, &[], DATAGRAMS)?;
    let took = started.elapsed();
    let counts = scene.counts(armed)?;
    ensure!(
        received == (0..DATAGRAMS).collect::<Vec<_>>() && counts.matched == DATAGRAMS,
        "in another order, or {counts:?}"
    );
    // A KiB's time is rounded down.
    let least = Duration::from_millis(999);
    ensure!(
        (least..Duration::from_millis(1500) + SLACK).contains(&took),
        "a second's datagrams took {took:?}"
    );
    Ok(())
}

/// `fq` drops what is to leave more than 10 s from now. A datagram of 20 s leaves earlier than the rate has it, but it leaves.
fn slow(scene: &mut Scene) -> Result<()> {
    const LENGTH: usize = 20_000;
    const LEAST: Duration = Duration::from_secs(5);
    scene.prepare_fq()?;
    let mut target = scene.unit(UNIT)?;
    let mut peer = scene.unit("peer.service")?;
    let sink = peer.udp_sink(LOCALHOST)?;
    let armed = scene.arm(UNIT, Plan::always().outward().bandwidth(8_000))?;
    let started = Instant::now();
    target.udp_send(LOCALHOST, sink.address, 0..1, LENGTH)?;
    let (received, _) = settled(scene, &mut peer, sink, &[], 1)?;
    let took = started.elapsed();
    figure(&format!("{LENGTH} bytes at 8 kbit/s took {took:?}"));
    ensure!(received == [0] && took >= LEAST, "it took {took:?}");
    let counts = scene.disarm(armed)?;
    ensure!((counts.matched, counts.injected) == (1, 1), "{counts:?}");
    Ok(())
}
