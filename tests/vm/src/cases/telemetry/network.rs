//! Probes of the network.

use std::{fs, net::TcpStream, time::Duration};

use anyhow::{Context, Result, ensure};
use observastack_loader::{
    FaultKind,
    observer::{Probe, event::kind},
    sock_diag::SockDiag,
};

use super::{Case, OTHER, OTHER_INSTANCE, WORKER, events_of, index, snapshot};
use crate::{
    agent::Protocol,
    netstat,
    rules::{LOCALHOST, Plan, errno},
    scene::{Scene, figure},
    traffic::{Acceptor, MESSAGE_LEN, send},
    wait,
};

pub(in crate::cases) const CASES: &[Case] = &[
    (
        "connections_and_failures_are_those_of_the_unit_that_asked",
        connects,
    ),
    ("resets_are_told_on_both_sides", resets),
    ("a_full_accept_queue_is_told_of_its_listener", accept_queue),
    ("round_trips_are_told_on_both_sides", round_trips),
    ("latency_moves_the_round_trips_of_its_unit_only", latency),
    (
        "packet_loss_moves_retransmissions_and_drops_of_its_units_only",
        loss,
    ),
];

fn connects(scene: &mut Scene) -> Result<()> {
    let mut client = scene.unit(WORKER)?;
    let mut noise = scene.unit(OTHER_INSTANCE)?;
    let mut server = scene.unit("server.service")?;
    let address = server.tcp_echo(LOCALHOST)?;
    let closed = {
        let gone = Acceptor::start(LOCALHOST)?;
        gone.address
    };
    let mut observer = scene.observe(&[Probe::TcpConnect])?;
    let made = client.connect(Protocol::Tcp, address, 50)?;
    ensure!(made.iter().all(|errno| *errno == errno::OK), "{made:?}");
    let refused = client.connect(Protocol::Tcp, closed, 20)?;
    ensure!(
        refused.iter().all(|errno| *errno == errno::ECONNREFUSED),
        "{refused:?}"
    );
    noise.connect(Protocol::Tcp, address, 7)?;
    // No handshake: not told.
    noise.connect(Protocol::Udp, address, 9)?;

    let read = snapshot(&mut observer)?;
    let of = |unit| -> Result<(u64, u64)> {
        let unit = index(&read, unit)?;
        let failures = read.counters[&unit].connect_failures;
        Ok((read.tcp_connect[&unit].count(), failures))
    };
    ensure!(of(WORKER)? == (50, 20), "{:?}", of(WORKER)?);
    ensure!(of(OTHER_INSTANCE)? == (7, 0), "{:?}", of(OTHER_INSTANCE)?);
    ensure!(
        of("server.service")? == (0, 0),
        "{:?}",
        of("server.service")?
    );
    ensure!(read.losses.beginnings == 0, "{:?}", read.losses);
    Ok(())
}

fn resets(scene: &mut Scene) -> Result<()> {
    let mut client = scene.unit(WORKER)?;
    let mut quiet = scene.unit(OTHER_INSTANCE)?;
    let mut server = scene.unit("server.service")?;
    let address = server.tcp_echo(LOCALHOST)?;
    // The loopback device has a queue for each CPU. From two of them a connection's end may overtake the last acknowledgement of
    // its handshake, and the listener answers that with a reset of its own.
    client.stay_on(0)?;
    quiet.stay_on(0)?;
    let mut observer = scene.observe(&[Probe::TcpReset])?;
    client.resets(address, 30)?;
    quiet.connect(Protocol::Tcp, address, 5)?;

    let read = snapshot(&mut observer)?;
    let of = |unit| -> Result<(u64, u64)> {
        let counters = read.counters[&index(&read, unit)?];
        Ok((counters.resets_sent, counters.resets_received))
    };
    ensure!(of(WORKER)? == (30, 0), "{:?}", of(WORKER)?);
    ensure!(
        of("server.service")? == (0, 30),
        "{:?}",
        of("server.service")?
    );
    ensure!(of(OTHER_INSTANCE)? == (0, 0), "{:?}", of(OTHER_INSTANCE)?);
    let events = observer.events(usize::MAX);
    let sent = events_of(&events, kind::RESET_SENT, index(&read, WORKER)?);
    ensure!(
        sent.len() == 30 && sent.iter().all(|event| event.remote_port == address.port()),
        "{sent:?}"
    );
    let server = index(&read, "server.service")?;
    let received = events_of(&events, kind::RESET_RECEIVED, server);
    ensure!(
        received.len() == 30
            && received
                .iter()
                .all(|event| event.local_port == address.port()),
        "{received:?}"
    );
    Ok(())
}

/// As `ss -lm` and `TcpExtListenDrops` have it: one connection waits more than were allowed, the next ones are thrown away.
fn accept_queue(scene: &mut Scene) -> Result<()> {
    const BACKLOG: u32 = 3;
    const LATE: u64 = 4;
    let mut server = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let address = server.listen(LOCALHOST, BACKLOG)?;
    let free = other.listen(LOCALHOST, BACKLOG)?;
    let dropped_before = netstat::counter("TcpExt", "ListenDrops")?;
    let _waiting: Vec<TcpStream> = (0..=BACKLOG)
        .map(|_| TcpStream::connect(address))
        .collect::<std::io::Result<_>>()?;
    for _ in 0..LATE {
        // One SYN each: the next one would come after a second.
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(300));
        ensure!(late.is_err(), "accepted beyond the queue");
    }
    let dropped = netstat::counter("TcpExt", "ListenDrops")? - dropped_before;
    let observer = scene.observe(&[])?;
    let all = SockDiag::open()?.listeners()?;
    let of = |port: u16| {
        let found = all.iter().find(|listener| listener.port == port);
        found.context("it does not listen")
    };
    let (full, idle) = (of(address.port())?, of(free.port())?);
    figure(&format!("{full:?}; {dropped} dropped on the machine"));
    ensure!(
        (full.waiting, full.limit) == (BACKLOG + 1, BACKLOG),
        "{full:?}"
    );
    ensure!(
        u64::from(full.drops) >= LATE && u64::from(full.drops) <= dropped,
        "{full:?}, {dropped} dropped on the machine"
    );
    ensure!((idle.waiting, idle.drops) == (0, 0), "{idle:?}");
    for (listener, unit) in [(full, WORKER), (idle, OTHER_INSTANCE)] {
        ensure!(
            observer.unit_of_cgroup(listener.cgroup_id) == Some(unit),
            "{listener:?} is not of {unit}"
        );
    }
    Ok(())
}

fn round_trips(scene: &mut Scene) -> Result<()> {
    let mut client = scene.unit(WORKER)?;
    let mut server = scene.unit("server.service")?;
    scene.make_unit(OTHER_INSTANCE)?;
    let address = server.tcp_echo(LOCALHOST)?;
    let mut observer = scene.observe(&[Probe::TcpRtt])?;
    client.requests(address, 400)?;
    let read = snapshot(&mut observer)?;
    for unit in [WORKER, "server.service"] {
        let times = read.tcp_rtt[&index(&read, unit)?];
        // By chance one of eight segments, of which there is at least one for each request.
        ensure!(
            (20..=250).contains(&times.count()),
            "{unit}: {}",
            times.count()
        );
    }
    let quiet = read.tcp_rtt[&index(&read, OTHER_INSTANCE)?];
    ensure!(quiet.count() == 0, "{quiet:?}");
    Ok(())
}

fn latency(scene: &mut Scene) -> Result<()> {
    if !scene.lab.kernel.can(FaultKind::Latency) {
        // Known: `capabilities` asserts that this kernel has no fq.
        figure("no fq on this kernel");
        return Ok(());
    }
    const DELAY: Duration = Duration::from_millis(30);
    let mut slow = scene.unit(WORKER)?;
    let mut fast = scene.unit(OTHER_INSTANCE)?;
    let mut server = scene.unit("server.service")?;
    let address = server.tcp_echo(LOCALHOST)?;
    scene.prepare_fq()?;
    let rule = Plan::always().outward().latency(DELAY, Duration::ZERO, 0);
    let armed = scene.arm(WORKER, rule)?;
    let mut observer = scene.observe(&[Probe::TcpRtt])?;
    slow.requests(address, 60)?;
    fast.requests(address, 400)?;
    let read = snapshot(&mut observer)?;
    let median = |unit| -> Result<u64> {
        let times = read.tcp_rtt[&index(&read, unit)?];
        times.quantile_ns(0.5).context("nothing told")
    };
    let (slow, fast) = (median(WORKER)?, median(OTHER_INSTANCE)?);
    figure(&format!("medians below {slow} ns and {fast} ns"));
    // A bucket's end is above what is in it, at most twice.
    ensure!(
        u128::from(slow) > DELAY.as_nanos(),
        "the delayed unit: {slow} ns"
    );
    ensure!(
        u128::from(fast) < DELAY.as_nanos() / 2,
        "the other one: {fast} ns"
    );
    scene.disarm(armed)?;
    Ok(())
}

fn loss(scene: &mut Scene) -> Result<()> {
    const MESSAGES: u64 = 200;
    let mut client = scene.unit(WORKER)?;
    let mut quiet = scene.unit(OTHER_INSTANCE)?;
    let mut server = scene.unit("server.service")?;
    let address = server.tcp_echo(LOCALHOST)?;
    let other = quiet.tcp_echo(LOCALHOST)?;
    let sink = server.udp_sink(LOCALHOST)?;
    let plan = Plan::of(0.1, 5);
    let tcp = scene.arm("server.service", plan.port(address.port()).loss())?;
    let mut observer = scene.observe(&[Probe::TcpRetransmit, Probe::PacketDrop])?;
    let cgroup = fs::metadata(scene.slice().join("server.service"))?;
    let id = std::os::unix::fs::MetadataExt::ino(&cgroup);
    observer.set_listeners(&[(address.port(), id)].into())?;
    let before = netstat::counter("Tcp", "RetransSegs")?;
    client.requests(address, 300)?;
    quiet.requests(other, 50)?;
    let retransmitted = netstat::counter("Tcp", "RetransSegs")? - before;
    let read = snapshot(&mut observer)?;
    let unit = |name| index(&read, name);
    let resent = |name| -> Result<u64> { Ok(read.counters[&unit(name)?].retransmits) };
    let (client_resent, server_resent) = (resent(WORKER)?, resent("server.service")?);
    let injected = scene.disarm(tcp)?.injected;
    let dropped = |unit: u32| -> u64 {
        let of = |((of, reason), count): (&(u32, String), &u64)| {
            (*of == unit && reason == "socket_filter").then_some(*count)
        };
        read.drops.iter().filter_map(of).sum()
    };
    let seen = dropped(unit("server.service")?);
    figure(&format!(
        "{injected} dropped, {seen} told; {retransmitted} sent again on the machine, {client_resent} by the client, {server_resent} by the server"
    ));
    ensure!(seen == injected, "{seen} drops told of {injected}");
    ensure!(client_resent > 0, "nothing was sent again");
    ensure!(
        resent(OTHER_INSTANCE)? == 0,
        "another unit's retransmissions"
    );
    ensure!(
        dropped(unit(OTHER_INSTANCE)?) == 0,
        "another unit's drops: {:?}",
        read.drops
    );
    // The machine's own figure has a few more: it counts segments, and others' connections.
    let told = client_resent + server_resent;
    ensure!(
        told <= retransmitted && told * 10 >= retransmitted * 8,
        "{told} told of {retransmitted}"
    );

    // Datagrams: their receiver is told from 6.11 on; before, nobody's.
    let udp = scene.arm(
        "server.service",
        Plan::always().port(sink.address.port()).loss(),
    )?;
    let socket = crate::traffic::outside(LOCALHOST)?;
    send(&socket, &[sink.address], 0..MESSAGES)?;
    let mut all = 0;
    wait::until(scene.deadline(), "every drop is told", || {
        let read = snapshot(&mut observer)?;
        let server = index(&read, "server.service")?;
        let of = |unit| -> u64 {
            let key = (unit, "socket_filter".to_owned());
            read.drops.get(&key).copied().unwrap_or(0)
        };
        all = of(server) - seen + of(OTHER);
        Ok(all >= MESSAGES)
    })
    .with_context(|| format!("{all} of {MESSAGES} datagrams of {MESSAGE_LEN} bytes"))?;
    scene.disarm(udp)?;
    Ok(())
}
