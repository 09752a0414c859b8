//! `reset`: established connections are destroyed, once or again and again; both sides are told, and `ss` sees it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::{TcpSink, is_late},
    command, ends, figures, lab,
    story::test,
    wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "reset::every_connection_is_reset_once_and_a_bystanders_stay",
            once,
        ),
        test(
            "reset::at_an_interval_each_new_connection_is_reset_and_counted",
            again,
        ),
        test("reset::a_share_of_the_connections_survives", share),
        test("reset::it_ends_in_every_way", every_way),
    ]
}

const ECONNABORTED: i32 = 103;
const PATIENCE: Duration = Duration::from_secs(20);

/// Established connections into a port, as ss sees them on the server's side.
fn established(port: u16) -> Result<usize> {
    let filter = format!("sport = :{port}");
    let text = command::output(&["ss", "-Htn", "state", "established", &filter])?;
    Ok(text.lines().count())
}

/// Opens connections and waits until the sink has all of them.
fn open(sink: &TcpSink, port: u16, count: usize) -> Result<Vec<TcpStream>> {
    let streams: io::Result<Vec<_>> = (0..count).map(|_| sink.connect(PATIENCE)).collect();
    let streams = streams?;
    wait::until_true(wait::SOON, "all connections are accepted", || {
        Ok(established(port)? == count && sink.seen()?.accepted >= count as u64)
    })?;
    Ok(streams)
}

/// Whether the peer has reset a connection, waited for as long as its time limit.
fn is_reset(stream: &mut TcpStream) -> Result<bool> {
    match stream.read(&mut [0; 16]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
        Err(error) if is_late(&error) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(length) => anyhow::bail!("{length} bytes came"),
    }
}

fn once() -> Result<()> {
    const COUNT: usize = 20;
    let (sink, bystander) = (
        TcpSink::start("reset", 9864)?,
        TcpSink::start("reset-bystander", 9865)?,
    );
    let mut streams = open(&sink, 9864, COUNT)?;
    let mut others = open(&bystander, 9865, 5)?;
    let id = lab::inject(&["reset", "--unit", &sink.unit(), "--for", "10m"])?;
    for stream in &mut streams {
        ensure!(is_reset(stream)?, "a connection was not reset");
    }
    ensure!(established(9864)? == 0, "ss still shows connections");
    wait::until_true(wait::SOON, "the unit's side is told", || {
        Ok(sink.seen()?.read_errors.get(&ECONNABORTED) == Some(&(COUNT as u64)))
    })?;
    // Once is once: what is opened now stays.
    let mut late = sink.connect(Duration::from_millis(700))?;
    ensure!(!is_reset(&mut late)?, "a later connection was reset");
    let ended = lab::clear(id)?;
    for name in ["matched", "injected"] {
        ensure!(lab::count(&ended, name)? == COUNT as u64, "{name}: {ended}");
    }
    ensure!(
        established(9865)? == others.len() && bystander.seen()?.read_errors.is_empty(),
        "the bystander lost connections"
    );
    for stream in &mut others {
        stream.write_all(b"still here")?;
    }
    wait::until_true(wait::SOON, "the bystander reads", || {
        Ok(bystander.seen()?.bytes == 50)
    })
}

fn again() -> Result<()> {
    let sink = TcpSink::start("reset-again", 9866)?;
    let id = lab::inject(&[
        "reset",
        "--unit",
        &sink.unit(),
        "--interval",
        "200ms",
        "--port",
        "9866",
        "--for",
        "10m",
    ])?;
    let mut resets = 0;
    for _ in 0..10 {
        let mut stream = sink.connect(PATIENCE)?;
        ensure!(is_reset(&mut stream)?, "not reset within {PATIENCE:?}");
        resets += 1;
    }
    let ended = lab::clear(id)?;
    figures::note(format!(
        "{resets} connections were reset: {}",
        ended["counts"]
    ));
    ensure!(
        lab::count(&ended, "injected")? == resets,
        "the client saw {resets} resets: {ended}"
    );
    let mut stream = sink.connect(Duration::from_millis(700))?;
    ensure!(!is_reset(&mut stream)?, "reset after the end");
    // Another port is not meant.
    lab::inject(&[
        "reset",
        "--unit",
        &sink.unit(),
        "--interval",
        "100ms",
        "--port",
        "9999",
        "--for",
        "10m",
    ])?;
    ensure!(!is_reset(&mut stream)?, "reset by a fault of another port");
    Ok(())
}

fn share() -> Result<()> {
    const COUNT: usize = 200;
    let sink = TcpSink::start("reset-share", 9867)?;
    let streams = open(&sink, 9867, COUNT)?;
    let id = lab::inject(&[
        "reset",
        "--unit",
        &sink.unit(),
        "--probability",
        "50%",
        "--for",
        "10m",
    ])?;
    let ended = wait::until(wait::SOON, "the round is over", || {
        let fault = lab::fault(id)?;
        Ok((lab::count(&fault, "matched")? == COUNT as u64).then_some(fault))
    })?;
    let injected = lab::count(&ended, "injected")?;
    let left = established(9867)? as u64;
    ensure!(
        left == COUNT as u64 - injected,
        "ss shows {left} connections: {ended}"
    );
    // Four standard deviations: the seed is drawn anew each time.
    ensure!((71..=129).contains(&injected), "{injected} of {COUNT}");
    lab::clear(id)?;
    drop(streams);
    Ok(())
}

fn every_way() -> Result<()> {
    let sink = TcpSink::start("reset-ends", 9868)?;
    let unit = sink.unit();
    ends::in_every_way(
        "reset",
        // Rounds are 100 ms apart, and the look lasts longer than one.
        ends::kernel_held(),
        |held| {
            let words = ["reset", "--unit", &unit, "--interval", "100ms"];
            lab::inject(&[&words[..], &["--for", held]].concat())
        },
        || {
            let mut stream = sink
                .connect(Duration::from_millis(250))
                .context("cannot connect")?;
            is_reset(&mut stream)
        },
    )
}
