//! When faults end: at their time, with the lease, and with the process that holds them. The kernel keeps all three.

use std::time::Duration;

use anyhow::{Result, ensure};
use observastack_loader::clock::monotonic_ns;

use super::Case;
use crate::{
    agent::{Protocol, UntilOk},
    holder::{Held, Holder},
    rules::{LOCALHOST, LONG, Plan, after, errno},
    scene::{Scene, figure},
    traffic::{Acceptor, message, outside, send, settled},
    wait,
};

pub(super) const CASES: &[Case] = &[
    (
        "end_of_connect_error_holds_to_the_call_with_nobody_ticking",
        end_of_connect_error,
    ),
    (
        "end_of_packet_loss_holds_with_nobody_ticking",
        end_of_packet_loss,
    ),
    ("a_lease_that_lapses_stops_faults_to_the_call", lapse),
    (
        "what_comes_without_a_lease_is_skipped_and_renewing_resumes",
        skipped_and_resumed,
    ),
    ("kill_9_of_the_holder_ends_every_fault", kill_9),
];

/// How long a fault of these tests holds. Long enough to see it act, also where everything takes 20 times as long.
const HOLDS: Duration = Duration::from_millis(1500);

fn end_of_connect_error(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let mut client = scene.unit("target.service")?;
    let end_ns = after(HOLDS);
    let armed = scene.arm(
        "target.service",
        Plan::always().ending(end_ns).error(errno::ETIMEDOUT),
    )?;
    client.begin_until_ok(Protocol::Tcp, server.address)?;
    let seen = client.until_ok()?;
    stopped_at(seen, end_ns)?;
    let counts = scene.counts(armed)?;
    ensure!(
        (counts.matched, counts.injected, counts.skipped) == (seen.failures, seen.failures, 0),
        "the client saw {} fail, the kernel counts {counts:?}",
        seen.failures
    );
    Ok(())
}

/// The client and the kernel read the same clock, so no tolerance is needed: a call that failed began before the end,
/// and the first that worked ended after it.
fn stopped_at(seen: UntilOk, end_ns: u64) -> Result<()> {
    ensure!(seen.failures > 0, "no call failed before the end: {seen:?}");
    ensure!(
        seen.last_failure_started_ns < end_ns,
        "a call failed that began {} µs after the end",
        (seen.last_failure_started_ns - end_ns) / 1000
    );
    ensure!(
        seen.success_ended_ns >= end_ns,
        "a call worked {} µs before the end",
        (end_ns - seen.success_ended_ns) / 1000
    );
    Ok(())
}

fn end_of_packet_loss(scene: &mut Scene) -> Result<()> {
    /// How much later than its sending a packet may be decided upon: the loopback device is allowed to defer.
    const DEFERRED_NS: u64 = 200_000_000;
    let mut target = scene.unit("target.service")?;
    let sink = target.udp_sink(LOCALHOST)?;
    let outside = outside(LOCALHOST)?;
    let end_ns = after(HOLDS);
    let armed = scene.arm("target.service", Plan::always().ending(end_ns).loss())?;

    let mut sent = Vec::new();
    wait::until(scene.deadline(), "packets are sent across the end", || {
        let started_ns = monotonic_ns();
        outside.send_to(&message(sent.len() as u64, 0), sink.address)?;
        sent.push((started_ns, monotonic_ns()));
        Ok(started_ns > end_ns + DEFERRED_NS)
    })?;
    let (received, counts) = settled(scene, &mut target, sink, &[armed], sent.len() as u64)?;
    ensure!(
        counts[0].matched == counts[0].injected && counts[0].injected > 0,
        "{:?}",
        counts[0]
    );
    for (n, (started_ns, ended_ns)) in sent.into_iter().enumerate() {
        if received.contains(&(n as u64)) {
            ensure!(
                ended_ns + DEFERRED_NS >= end_ns,
                "packet {n} arrived long before the end"
            );
        } else {
            ensure!(
                started_ns < end_ns,
                "packet {n} was lost, sent {} µs after the end",
                (started_ns - end_ns) / 1000
            );
        }
    }
    Ok(())
}

fn lapse(scene: &mut Scene) -> Result<()> {
    let server = Acceptor::start(LOCALHOST)?;
    let mut client = scene.unit("target.service")?;
    let armed = scene.arm("target.service", Plan::always().error(errno::ETIMEDOUT))?;
    let lapse_ns = after(HOLDS);
    scene.loader.set_lease(lapse_ns)?;
    client.begin_until_ok(Protocol::Tcp, server.address)?;
    let seen = client.until_ok()?;
    stopped_at(seen, lapse_ns)?;
    let counts = scene.counts(armed)?;
    ensure!(
        (counts.matched, counts.injected, counts.skipped) == (seen.failures, seen.failures, 1),
        "the client saw {} fail and 1 work, the kernel counts {counts:?}",
        seen.failures
    );
    Ok(())
}

fn skipped_and_resumed(scene: &mut Scene) -> Result<()> {
    const TIMES: u32 = 50;
    let server = Acceptor::start(LOCALHOST)?;
    let plan = Plan::of(0.5, 99);
    let mut client = scene.unit("target.service")?;
    let armed = scene.arm("target.service", plan.error(errno::EACCES))?;
    let fates = |numbers: std::ops::Range<u32>| -> Vec<i32> {
        numbers
            .map(|n| {
                if plan.faults(n.into()) {
                    errno::EACCES
                } else {
                    errno::OK
                }
            })
            .collect()
    };

    let seen = client.connect(Protocol::Tcp, server.address, TIMES)?;
    ensure!(seen == fates(0..TIMES), "with the lease: {seen:?}");

    for lapsed in [0, monotonic_ns()] {
        scene.loader.set_lease(lapsed)?;
        let seen = client.connect(Protocol::Tcp, server.address, TIMES)?;
        ensure!(
            seen.iter().all(|seen| *seen == errno::OK),
            "without a lease: {seen:?}"
        );
    }
    let counts = scene.counts(armed)?;
    ensure!(
        (counts.matched, counts.skipped) == (u64::from(TIMES), u64::from(2 * TIMES)),
        "{counts:?}"
    );

    // What was skipped has no number: the sequence goes on where it stopped.
    scene.loader.set_lease(after(LONG))?;
    let seen = client.connect(Protocol::Tcp, server.address, TIMES)?;
    ensure!(seen == fates(TIMES..2 * TIMES), "renewed: {seen:?}");
    Ok(())
}

/// The holder's lease would hold for an hour: it is the programs that go, with the process.
fn kill_9(scene: &mut Scene) -> Result<()> {
    let (server, socket) = (Acceptor::start(LOCALHOST)?, outside(LOCALHOST)?);
    let mut client = scene.unit("target.service")?;
    let sink = client.udp_sink(LOCALHOST)?;
    let mut holder = Holder::start(scene, "target.service", &[Held::Address, Held::Slice], LONG)?;
    let seen = client.connect(Protocol::Tcp, server.address, 1)?;
    ensure!(seen == [errno::ECONNREFUSED], "held: {seen:?}");
    send(&socket, &[sink.address], 0..100)?;
    let seen = client.received(sink)?;
    ensure!(seen.is_empty(), "held, and packets arrive: {seen:?}");

    client.begin_until_ok(Protocol::Tcp, server.address)?;
    let killed_ns = monotonic_ns();
    holder.kill()?;
    let seen = client.until_ok()?;
    ensure!(
        seen.success_ended_ns > killed_ns,
        "the fault was gone before the kill"
    );
    let took = Duration::from_nanos(seen.success_ended_ns - killed_ns);
    figure(&format!("connect works again {took:?} after the kill"));
    let bound = scene.lab.kernel.gone_after_kill();
    ensure!(took <= bound, "gone after {took:?}, allowed are {bound:?}");

    // The programs go one after the other; the other fault has the same time.
    let mut number = 100;
    wait::until(bound, "packets arrive after the kill", || {
        send(&socket, &[sink.address], number..number + 1)?;
        number += 1;
        Ok(!client.received(sink)?.is_empty())
    })
}
