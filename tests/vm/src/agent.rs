//! A client process inside a unit, from the test's side.

mod calls;
mod streams;
mod work;

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    str::FromStr,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

pub(crate) use self::{calls::Calls, streams::Receiver};
use crate::client;

/// The program that runs, also when a build has put another at its path meanwhile.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// What a client connects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => bail!("`{word}` is neither tcp nor udp"),
        }
    }
}

/// A socket of a client that collects messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sink {
    index: usize,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// What a client saw that connected until it worked, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UntilOk {
    pub(crate) failures: u64,
    pub(crate) last_failure_started_ns: u64,
    pub(crate) success_ended_ns: u64,
}

/// A client process; dropping it kills it and waits for its end.
pub(crate) struct Agent {
    child: Child,
    requests: ChildStdin,
    answers: mpsc::Receiver<String>,
    deadline: Duration,
}

impl Agent {
    /// Starts a client and waits until it is in its cgroup.
    pub(crate) fn start(cgroup: &Path, deadline: Duration) -> Result<Self> {
        let mut child = Command::new(THIS_PROGRAM)
            .arg(client::VERB)
            .arg(cgroup)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a client")?;
        let requests = child.stdin.take().context("a client without input")?;
        let output = child.stdout.take().context("a client without output")?;
        let (sender, answers) = mpsc::channel();
        // Ends with the client's output.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut agent = Self {
            child,
            requests,
            answers,
            deadline,
        };
        agent
            .finish()
            .with_context(|| format!("the client in {}", cgroup.display()))?;
        Ok(agent)
    }

    /// A UDP socket at a port of the kernel's choice.
    pub(crate) fn udp_sink(&mut self, ip: impl Into<IpAddr>) -> Result<Sink> {
        let address = SocketAddr::new(ip.into(), 0);
        self.sink(&format!("udp-sink {address}"))
    }

    /// A raw IPv4 socket for the protocol of [`crate::traffic::RAW_PROTOCOL`].
    pub(crate) fn raw_sink(&mut self) -> Result<Sink> {
        self.sink("raw-sink")
    }

    fn sink(&mut self, request: &str) -> Result<Sink> {
        let answer = self.ask(request)?;
        let (index, address) = answer.split_once(' ').context("half an answer")?;
        Ok(Sink {
            index: index.parse()?,
            address: address.parse()?,
        })
    }

    /// Makes a sink receive from one peer only.
    pub(crate) fn connect_sink(&mut self, sink: Sink, peer: SocketAddr) -> Result<()> {
        self.ask(&format!("connect-sink {} {peer}", sink.index))?;
        Ok(())
    }

    /// The numbers of all messages that a sink has received, in the order of arrival.
    pub(crate) fn received(&mut self, sink: Sink) -> Result<Vec<u64>> {
        numbers(&self.ask(&format!("received {}", sink.index))?)
    }

    /// Starts a server that sends every message back.
    pub(crate) fn tcp_echo(&mut self, ip: impl Into<IpAddr>) -> Result<SocketAddr> {
        let address = SocketAddr::new(ip.into(), 0);
        Ok(self.ask(&format!("tcp-echo {address}"))?.parse()?)
    }

    /// Connects so many times; each 0 or an errno.
    pub(crate) fn connect(
        &mut self,
        protocol: Protocol,
        address: SocketAddr,
        times: u32,
    ) -> Result<Vec<i32>> {
        numbers(&self.ask(&format!("connect {protocol} {address} {times}"))?)
    }

    /// Connects again and again until it works. The answer is waited for with [`Self::until_ok`].
    pub(crate) fn begin_until_ok(&mut self, protocol: Protocol, address: SocketAddr) -> Result<()> {
        // The client gives up before the test does, and says what it saw.
        let limit_ms = (self.deadline / 2).as_millis();
        self.begin(&format!("connect-until-ok {protocol} {address} {limit_ms}"))
    }

    /// What a client saw that was told to connect until it works.
    pub(crate) fn until_ok(&mut self) -> Result<UntilOk> {
        match numbers(&self.finish()?)?.as_slice() {
            [failures, last_failure_started_ns, success_ended_ns] => Ok(UntilOk {
                failures: *failures,
                last_failure_started_ns: *last_failure_started_ns,
                success_ended_ns: *success_ended_ns,
            }),
            other => bail!("not three numbers: {other:?}"),
        }
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        self.begin(request)?;
        self.finish().with_context(|| format!("`{request}`"))
    }

    fn begin(&mut self, request: &str) -> Result<()> {
        writeln!(self.requests, "{request}").context("the client is gone")
    }

    fn finish(&mut self) -> Result<String> {
        let line = self
            .answers
            .recv_timeout(self.deadline)
            .context("the client doesn't answer")?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ok", answer) => Ok(answer.trim_end().to_owned()),
            (_, error) => bail!("the client says: {error}"),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn numbers<T>(line: &str) -> Result<Vec<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    line.split_whitespace()
        .map(|word| Ok(word.parse()?))
        .collect()
}
