//! Load on the shop: as much as it takes, or at a rate.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::stats::Samples;

/// Clients, each with a connection of its own that is kept alive.
const CLIENTS: u32 = 8;
/// What is asked for, in turns: both are read from the database and small.
const PATHS: [&str; 2] = ["/products/P00001", "/products?limit=5"];

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Answers a second.
    pub(crate) per_second: f64,
    /// From when a request was due to the end of its answer.
    pub(crate) took: Samples,
}

/// How fast the shop answers clients that wait for nothing.
pub(crate) fn saturate(length: Duration) -> Result<Load> {
    run(length, |_| Duration::ZERO)
}

/// How soon it answers requests that come at a rate, whether the ones before were answered or not: time that a client was late counts.
pub(crate) fn at_rate(per_second: f64, length: Duration) -> Result<Load> {
    run(length, |number| {
        Duration::from_secs_f64(f64::from(number) / per_second)
    })
}

fn run(length: Duration, due: impl Fn(u32) -> Duration + Sync) -> Result<Load> {
    let begun = Instant::now();
    let took = thread::scope(|scope| -> Result<Vec<Vec<u64>>> {
        let due = &due;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || one(client, begun, length, due)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect()
    })?;
    let elapsed = begun.elapsed().as_secs_f64();
    let answers: usize = took.iter().map(Vec::len).sum();
    let mut load = Load {
        per_second: answers as f64 / elapsed,
        ..Load::default()
    };
    took.into_iter()
        .flatten()
        .for_each(|value| load.took.push(value));
    Ok(load)
}

fn one(
    client: u32,
    begun: Instant,
    length: Duration,
    due: &(impl Fn(u32) -> Duration + Sync),
) -> Result<Vec<u64>> {
    let stream = TcpStream::connect(("127.0.0.1", 8000)).context("the gateway does not listen")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut stream = BufReader::new(stream);
    let mut took = Vec::new();
    for number in 0.. {
        let due = due(number * CLIENTS + client);
        if begun.elapsed().max(due) >= length {
            break;
        }
        thread::sleep(due.saturating_sub(begun.elapsed()));
        // Without a rate, a request is due when the one before was answered.
        let from = if due.is_zero() { begun.elapsed() } else { due };
        let path = PATHS[number as usize % PATHS.len()];
        write!(
            stream.get_mut(),
            "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )?;
        read(&mut stream)?;
        let ns = begun.elapsed().saturating_sub(from).as_nanos();
        took.push(u64::try_from(ns)?);
    }
    Ok(took)
}

/// Reads an answer, which has to be 200.
fn read(stream: &mut BufReader<TcpStream>) -> Result<()> {
    let (mut line, mut length, mut status) = (String::new(), 0, None);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            bail!("the gateway has closed a connection");
        }
        match (line.trim_end(), &status) {
            ("", _) => break,
            (first, None) => status = Some(first.to_owned()),
            (header, Some(_)) => {
                if let Some((name, value)) = header.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse()?;
                }
            }
        }
    }
    let status = status.unwrap_or_default();
    ensure!(status.contains(" 200"), "answered {status}");
    stream.read_exact(&mut vec![0; length])?;
    Ok(())
}
