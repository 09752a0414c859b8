//! `packet-loss`: the kernel's count, a client's own, and the network stack's agree; bystanders lose nothing.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::UdpSink,
    figures,
    http::{self, Connection},
    lab::{self, API_1, GATEWAY, PROMETHEUS},
    netstat::{self, TcpCounts},
    statistics::interval_99,
    story::test,
    systemd, wait,
};

const COUNT: u64 = 5_000;
const SHARE: f64 = 0.2;
/// Which events are faulted depends on it alone: the tests have the same luck every time.
const SEED: &str = "7";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "packet_loss::of_5000_datagrams_20_percent_vanish_and_a_bystander_loses_none",
            datagrams,
        ),
        test(
            "packet_loss::the_same_seed_loses_the_same_datagrams",
            same_seed,
        ),
        test(
            "packet_loss::of_5000_requests_all_are_answered_and_retransmissions_match_the_drops",
            requests,
        ),
        test(
            "packet_loss::a_port_leaves_other_ports_of_the_unit_alone",
            other_port,
        ),
    ]
}

/// Inbound only: the answers' loss would be counted too.
fn loss<'a>(unit: &'a str, port: &'a str, seed: &'a str) -> [&'a str; 13] {
    [
        "packet-loss",
        "--unit",
        unit,
        "--direction",
        "in",
        "--port",
        port,
        "--probability",
        "20%",
        "--seed",
        seed,
        "--for",
        "10m",
    ]
}

fn datagrams() -> Result<()> {
    let (sink, bystander) = (
        UdpSink::start("udp-1", 9801)?,
        UdpSink::start("udp-2", 9802)?,
    );
    let full_buffers = netstat::counter("UdpRcvbufErrors")?;
    let unit = sink.unit();
    let id = lab::inject(&loss(&unit, "9801", SEED))?;
    sink.send(COUNT as u32)?;
    bystander.send(COUNT as u32)?;
    let ended = lab::clear(id)?;

    let missed = COUNT - sink.received()?.numbers.len() as u64;
    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    figures::note(format!(
        "of {matched} datagrams {injected} were dropped, the client misses {missed}"
    ));
    ensure!(
        matched == COUNT,
        "the kernel matched {matched} of {COUNT} datagrams"
    );
    ensure!(
        injected == missed,
        "the kernel dropped {injected}, the client misses {missed}"
    );
    ensure!(
        sink.socket_drops()? == missed,
        "the socket has counted {} drops",
        sink.socket_drops()?
    );
    ensure!(
        netstat::counter("UdpRcvbufErrors")? == full_buffers,
        "datagrams were lost to full buffers"
    );
    let interval = interval_99(COUNT, SHARE);
    ensure!(
        interval.contains(&missed),
        "{missed} of {COUNT} is outside of {interval:?}"
    );
    ensure!(lab::count(&ended, "skipped")? == 0, "{ended}");

    ensure!(
        bystander.received()?.numbers.len() as u64 == COUNT,
        "the bystander has lost datagrams"
    );
    ensure!(
        bystander.socket_drops()? == 0,
        "the bystander's socket has counted drops"
    );

    // It is over: nothing is lost any more.
    let before = sink.received()?.numbers.len() as u64;
    sink.send(500)?;
    ensure!(
        sink.received()?.numbers.len() as u64 == before + 500,
        "datagrams are lost after the end"
    );
    Ok(())
}

fn same_seed() -> Result<()> {
    let mut lost = Vec::new();
    for (name, port, seed) in [
        ("seed-1", 9803, "7"),
        ("seed-2", 9804, "7"),
        ("seed-3", 9805, "8"),
    ] {
        let sink = UdpSink::start(name, port)?;
        let (unit, port) = (sink.unit(), port.to_string());
        let id = lab::inject(&loss(&unit, &port, seed))?;
        sink.send(1_000)?;
        lab::clear(id)?;
        let received: BTreeSet<u32> = sink.received()?.numbers.into_iter().collect();
        lost.push(
            (0..1_000)
                .filter(|number| !received.contains(number))
                .collect::<Vec<_>>(),
        );
    }
    ensure!(
        !lost[0].is_empty() && lost[0] == lost[1],
        "seed 7 lost {:?} and {:?}",
        lost[0],
        lost[1]
    );
    ensure!(lost[0] != lost[2], "seed 8 lost the same as seed 7");
    Ok(())
}

/// Connections at a time: a lost packet costs its connection 200 ms and more, so few would take minutes.
const CONNECTIONS: u32 = 100;

fn requests() -> Result<()> {
    // Its health checks would be lost too, and counted.
    systemd::stop(GATEWAY)?;
    // All connections are there before the fault, so that every segment of them is accounted for.
    let open = |port| -> Result<Vec<Connection>> {
        let connections: Result<Vec<_>> =
            (0..CONNECTIONS).map(|_| Connection::open(port)).collect();
        let (connections, outcomes) = http::load(connections?, 1, "/products?limit=1")?;
        ensure!(outcomes.keys().eq(["200"]), "{outcomes:?}");
        Ok(connections)
    };
    let (faulted, bystanders) = (open(8101)?, open(8102)?);
    let ports = |connections: &[Connection]| {
        connections
            .iter()
            .map(Connection::local_port)
            .collect::<Vec<_>>()
    };
    let (faulted_ports, bystander_ports) = (ports(&faulted), ports(&bystanders));
    let quiet = |port, ports: &[u16]| {
        wait::until(wait::SOON, "nothing is under way any more", || {
            let counts = TcpCounts::of(port, ports)?;
            Ok((counts.sent_by_clients == counts.reached_servers).then_some(counts))
        })
    };
    // Its scrapes of the same port would be lost as well, and counted.
    systemd::stop(PROMETHEUS)?;
    let before = quiet(8101, &faulted_ports)?;
    let bystanders_before = quiet(8102, &bystander_ports)?;
    let retransmitted_before = netstat::counter("TcpRetransSegs")?;

    let id = lab::inject(&loss(API_1, "8101", SEED))?;
    let (bystanders, outcomes) =
        http::load(bystanders, COUNT as u32 / CONNECTIONS, "/products?limit=1")?;
    ensure!(outcomes.keys().eq(["200"]), "the bystander: {outcomes:?}");
    ensure!(
        netstat::counter("TcpRetransSegs")? == retransmitted_before,
        "the bystander had retransmissions"
    );
    let bystander = quiet(8102, &bystander_ports)?.since(bystanders_before);
    ensure!(bystander.sent_by_clients >= COUNT, "{bystander:?}");
    let untouched = lab::fault(id)?;
    ensure!(
        lab::count(&untouched, "matched")? == 0,
        "the bystander's packets were matched: {untouched}"
    );

    let (faulted, outcomes) = http::load(faulted, COUNT as u32 / CONNECTIONS, "/products?limit=1")?;
    ensure!(
        outcomes.keys().eq(["200"]) && outcomes.values().sum::<u64>() == COUNT,
        "not all were answered: {outcomes:?}"
    );
    // The last answers' acknowledgements are delayed, and what they were lost for is sent again: until then it moves.
    let (counts, ended) = wait::until(
        wait::SOON,
        "the kernel's count is that of the TCP stack",
        || {
            let counts = TcpCounts::of(8101, &faulted_ports)?.since(before);
            let fault = lab::fault(id)?;
            // Two looks, one after the other: what arrives between them is ahead of what was sent.
            let Some(lost) = counts.sent_by_clients.checked_sub(counts.reached_servers) else {
                return Ok(None);
            };
            ensure!(
                lost == lab::count(&fault, "injected")?,
                "{fault} but {counts:?}"
            );
            ensure!(
                counts.sent_by_clients == lab::count(&fault, "matched")?,
                "{fault} but {counts:?}"
            );
            Ok(Some((counts, fault)))
        },
    )?;
    lab::clear(id)?;
    drop((faulted, bystanders));

    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    let interval = interval_99(matched, SHARE);
    ensure!(
        interval.contains(&injected),
        "{injected} of {matched} is outside of {interval:?}"
    );
    let retransmitted = netstat::counter("TcpRetransSegs")? - retransmitted_before;
    figures::note(format!(
        "of {matched} segments {injected} were dropped; {retransmitted} retransmissions: {counts:?}"
    ));
    check_retransmissions(&counts, injected, retransmitted)
}

/// Retransmissions ≈ drops, by what TCP must do:
/// - a request that is dropped is sent again, once for each drop: these two are equal, but for the few requests that
///   only looked lost;
/// - a bare acknowledgement that is dropped is not sent again: that makes retransmissions fewer than drops;
/// - with either of them the server misses the acknowledgement of its last answer, and may send that again, at most
///   once for each drop: that makes them more.
///
/// So retransmissions lie between the dropped requests and those plus all drops, and, as most drops hit requests, near
/// the drops. (Drops that TCP takes for an error of its own give less than a tenth.)
fn check_retransmissions(counts: &TcpCounts, injected: u64, retransmitted: u64) -> Result<()> {
    let data_dropped = counts.data_sent_by_clients - counts.data_reached_servers;
    let by_clients = counts.retransmitted_by_clients;
    ensure!(
        (data_dropped..=data_dropped + injected / 50).contains(&by_clients),
        "{data_dropped} requests were dropped and {by_clients} sent again"
    );
    let both = by_clients + counts.retransmitted_by_servers;
    ensure!(
        both == retransmitted,
        "nstat counts {retransmitted} retransmissions, ss {both}"
    );
    let possible = data_dropped..=data_dropped + injected;
    let near = injected * 8 / 10..=injected * 14 / 10;
    ensure!(
        possible.contains(&retransmitted) && near.contains(&retransmitted),
        "{injected} drops, {data_dropped} of them requests, but {retransmitted} retransmissions, not in {possible:?} and {near:?}"
    );
    Ok(())
}

fn other_port() -> Result<()> {
    let sink = UdpSink::start("udp-3", 9806)?;
    let unit = sink.unit();
    let id = lab::inject(&[
        "packet-loss",
        "--unit",
        &unit,
        "--port",
        "9999",
        "--for",
        "10m",
    ])?;
    sink.send(200)?;
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "matched")? == 0, "{ended}");
    ensure!(
        sink.received()?.numbers.len() == 200,
        "datagrams to another port were lost"
    );
    // The same without a port has them all.
    let id = lab::inject(&["packet-loss", "--unit", &unit, "--for", "10m"])?;
    sink.send(200)?;
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? == 200, "{ended}");
    ensure!(
        sink.received()?.numbers.len() == 200,
        "datagrams came through a loss of 100 %"
    );
    Ok(())
}
