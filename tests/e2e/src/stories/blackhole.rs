//! `blackhole`: packets of a unit vanish, one way or both; only the unit's, and only as long as the fault holds.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::UdpEcho,
    command, ends, figures,
    http::{Connection, curl},
    lab::{self, API_1},
    netstat,
    story::test,
    wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "blackhole::requests_time_out_and_a_bystander_answers",
            requests,
        ),
        test(
            "blackhole::an_established_connection_sends_again_until_it_is_over",
            established,
        ),
        test("blackhole::ss_tells_which_way_it_is", one_way),
        test(
            "blackhole::each_way_takes_every_datagram_and_counts_it",
            datagrams,
        ),
        test("blackhole::it_ends_in_every_way", every_way),
    ]
}

const FAULTED: &str = "http://127.0.0.1:8101/products?limit=1";
const BYSTANDER: &str = "http://127.0.0.1:8102/products?limit=1";

fn blackhole(direction: &str, held: &str) -> Result<u64> {
    lab::inject(&[
        "blackhole",
        "--unit",
        API_1,
        "--port",
        "8101",
        "--direction",
        direction,
        "--for",
        held,
    ])
}

fn requests() -> Result<()> {
    for direction in ["in", "out", "both"] {
        curl(&[FAULTED])?.expect(200)?;
        let id = blackhole(direction, "10m")?;
        let ran = command::run(&[
            "curl",
            "--silent",
            "--show-error",
            "--max-time",
            "1.5",
            FAULTED,
        ])?;
        ran.expect(28)?;
        curl(&[BYSTANDER])?.expect(200)?;
        let ended = lab::clear(id)?;
        let (matched, injected) = (
            lab::count(&ended, "matched")?,
            lab::count(&ended, "injected")?,
        );
        ensure!(matched == injected && injected >= 2, "{direction}: {ended}");
        curl(&[FAULTED])?.expect(200)?;
    }
    Ok(())
}

/// The line of `ss` about the connection from this port, if there is one in such a state.
fn socket(states: &[&str], local: u16) -> Result<Option<String>> {
    let mut words = vec!["ss", "-HOtino"];
    for state in states {
        words.extend(["state", state]);
    }
    let filter = format!("sport = :{local}");
    words.push(&filter);
    let text = command::output(&words)?;
    Ok(text.lines().next().map(str::to_owned))
}

fn established() -> Result<()> {
    let mut connection = Connection::open(8101)?;
    let port = connection.local_port();
    ensure!(
        connection.request("GET", "/products?limit=1", "")? == 200,
        "no answer before the fault"
    );
    let id = blackhole("both", "10m")?;
    let status = std::thread::scope(|scope| {
        let request = scope.spawn(move || connection.request("GET", "/products?limit=1", ""));
        wait::until_true(wait::SOON, "ss shows retransmissions", || {
            let line = socket(&["established"], port)?.context("no connection")?;
            ensure!(line.contains("backoff:"), "{line}");
            Ok(line.contains("timer:(on,"))
        })?;
        ensure!(!request.is_finished(), "the request has ended");
        lab::clear(id)?;
        request
            .join()
            .map_err(|_| anyhow::anyhow!("the client panicked"))?
    })?;
    ensure!(status == 200, "answered {status}");
    Ok(())
}

fn connect(patience: Duration) -> std::io::Result<TcpStream> {
    let address: SocketAddr = ([127, 0, 0, 1], 8101).into();
    TcpStream::connect_timeout(&address, patience)
}

fn one_way() -> Result<()> {
    // Inbound, the server never sees who knocks; outbound, it answers and is not heard.
    let own = format!("pid={},", std::process::id());
    for (direction, heard) in [("in", false), ("out", true)] {
        let id = blackhole(direction, "10m")?;
        std::thread::scope(|scope| {
            let client = scope.spawn(|| connect(Duration::from_secs(4)));
            let port = wait::until(wait::SOON, "a client knocks again", || {
                let words = ["ss", "-HtnopO", "state", "syn-sent", "dport = :8101"];
                let text = command::output(&words)?;
                // The gateway and Prometheus knock too.
                let knocks = text
                    .lines()
                    .find(|line| line.contains("timer:(on,") && line.contains(&own));
                let local = knocks.and_then(|line| line.split_whitespace().nth(2));
                Ok(local.and_then(|local| local.rsplit(':').next().map(str::to_owned)))
            })?;
            // Only this client's: what others began the server goes on with for a minute.
            let filter = format!("sport = :8101 and dport = :{port}");
            let waiting = || command::output(&["ss", "-Htn", "state", "syn-recv", &filter]);
            if heard {
                wait::until_true(wait::SOON, "the server answers", || {
                    Ok(!waiting()?.is_empty())
                })?;
            } else {
                // After two more knocks there is still nothing on the server's side.
                wait::until_true(wait::SOON, "three knocks are lost", || {
                    Ok(lab::count(&lab::fault(id)?, "injected")? >= 3)
                })?;
                ensure!(waiting()?.is_empty(), "the server has heard a packet");
            }
            lab::clear(id)?;
            client
                .join()
                .map_err(|_| anyhow::anyhow!("the client panicked"))?
                .context("the next knock came through too late")
        })?;
    }
    Ok(())
}

fn datagrams() -> Result<()> {
    const COUNT: u32 = 200;
    let (echo, bystander) = (
        UdpEcho::start("hole", 9850)?,
        UdpEcho::start("hole-bystander", 9851)?,
    );
    let unit = echo.unit();
    let inject = |direction: &str| {
        lab::inject(&[
            "blackhole",
            "--unit",
            &unit,
            "--direction",
            direction,
            "--protocol",
            "udp",
            "--for",
            "10m",
        ])
    };
    let id = inject("out")?;
    let before = netstat::udp_lost()?;
    let back = echo.exchange(COUNT, 64)?;
    let others = bystander.exchange(COUNT, 64)?;
    let lost = netstat::udp_lost()? - before;
    let ended = lab::clear(id)?;
    ensure!(back.is_empty(), "{} came back", back.len());
    ensure!(others.len() == COUNT as usize, "the bystander lost some");
    for name in ["matched", "injected"] {
        ensure!(
            lab::count(&ended, name)? == u64::from(COUNT),
            "{name}: {ended}"
        );
    }
    ensure!(
        lost == i64::from(COUNT),
        "by nstat {lost} of {COUNT} were sent and did not arrive"
    );

    let answered = echo.answered()?;
    let id = inject("in")?;
    for number in 0..COUNT {
        echo.send(number, 64)?;
    }
    let ended = lab::clear(id)?;
    ensure!(
        echo.answered()? == answered,
        "datagrams came through a black hole"
    );
    ensure!(
        lab::count(&ended, "injected")? == u64::from(COUNT),
        "{ended}"
    );
    let back = echo.exchange(COUNT, 64)?;
    ensure!(back.len() == COUNT as usize, "{} came back", back.len());
    figures::note(format!("{COUNT} datagrams each way vanished, all counted"));
    Ok(())
}

fn every_way() -> Result<()> {
    let echo = UdpEcho::start("hole-ends", 9852)?;
    let unit = echo.unit();
    ends::in_every_way(
        "blackhole",
        ends::kernel_held(),
        |held| lab::inject(&["blackhole", "--unit", &unit, "--for", held]),
        || Ok(!echo.answers_within(Duration::from_millis(30))?),
    )
}
