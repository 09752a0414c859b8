//! The client's own side: a process inside a unit that does what it is told, line by line, and says what it saw.
//!
//! It enters its cgroup before it makes any socket, because a socket belongs to the cgroup of the process that made
//! it. Requests on standard input are `verb argument...`; the answer is one line on standard output, `ok ...` or
//! `error ...`. The end of standard input ends it.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use observastack_loader::clock::monotonic_ns;
use rustix::net::sockopt;

use crate::{
    agent::Protocol,
    traffic::{MESSAGE_LEN, raw_socket, sequence_of},
};

/// The argument that makes this program a client.
pub(crate) const VERB: &str = "client";

/// Room for every datagram of a test: what is missing was lost by the fault, not by a full buffer.
const RECEIVE_BUFFER: usize = 64 << 20;

/// Length of an IPv4 header without options, which a raw socket receives too.
const IPV4_HEADER: usize = 20;

/// The client's main function.
pub(crate) fn run(cgroup: &str) -> ExitCode {
    match serve(Path::new(cgroup)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cgroup: &Path) -> Result<()> {
    fs::write(cgroup.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter {}", cgroup.display()))?;
    let mut client = Client { sinks: Vec::new() };
    let mut out = io::stdout().lock();
    writeln!(out, "ok")?;
    for line in io::stdin().lock().lines() {
        let answer = match client.answer(&line?) {
            Ok(answer) => format!("ok {answer}"),
            Err(error) => format!("error {error:#}"),
        };
        writeln!(out, "{answer}")?;
    }
    Ok(())
}

struct Client {
    sinks: Vec<Sink>,
}

/// A socket that collects messages.
struct Sink {
    socket: UdpSocket,
    header: usize,
    seen: Vec<u64>,
}

impl Client {
    fn answer(&mut self, request: &str) -> Result<String> {
        let words: Vec<&str> = request.split(' ').collect();
        match words.as_slice() {
            ["udp-sink", address] => {
                let socket = UdpSocket::bind(address.parse::<SocketAddr>()?)?;
                self.add(socket, 0)
            }
            ["raw-sink"] => {
                let socket = raw_socket()?;
                self.add(socket, IPV4_HEADER)
            }
            ["connect-sink", sink, peer] => {
                let sink = self.sink(sink)?;
                sink.socket.connect(peer.parse::<SocketAddr>()?)?;
                Ok(String::new())
            }
            ["received", sink] => self.sink(sink)?.received(),
            ["tcp-echo", address] => tcp_echo(address.parse()?),
            ["connect", protocol, address, times] => {
                let (protocol, address) = (protocol.parse()?, address.parse()?);
                let mut answer = String::new();
                for _ in 0..times.parse::<u32>()? {
                    write!(answer, "{} ", connect(protocol, address)?)?;
                }
                Ok(answer)
            }
            ["connect-until-ok", protocol, address, limit_ms] => {
                let limit = Duration::from_millis(limit_ms.parse()?);
                connect_until_ok(protocol.parse()?, address.parse()?, limit)
            }
            _ => bail!("a client doesn't know the request `{request}`"),
        }
    }

    fn add(&mut self, socket: UdpSocket, header: usize) -> Result<String> {
        sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        // A raw socket has no address worth telling.
        let address = socket
            .local_addr()
            .unwrap_or_else(|_| (Ipv4Addr::LOCALHOST, 0).into());
        self.sinks.push(Sink {
            socket,
            header,
            seen: Vec::new(),
        });
        Ok(format!("{} {address}", self.sinks.len() - 1))
    }

    fn sink(&mut self, index: &str) -> Result<&mut Sink> {
        self.sinks
            .get_mut(index.parse::<usize>()?)
            .with_context(|| format!("there is no sink {index}"))
    }
}

impl Sink {
    /// Every message so far, in the order of arrival.
    fn received(&mut self) -> Result<String> {
        let mut buffer = [0; 128];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let message = buffer
                        .get(self.header..length)
                        .and_then(sequence_of)
                        .context("a message of unknown form")?;
                    self.seen.push(message);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut answer = String::new();
        for sequence in &self.seen {
            write!(answer, "{sequence} ")?;
        }
        Ok(answer)
    }
}

/// A server that sends back every message, a thread for each connection.
fn tcp_echo(address: SocketAddr) -> Result<String> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let echo = move || echo(stream);
            if thread::Builder::new()
                .stack_size(128 << 10)
                .spawn(echo)
                .is_err()
            {
                return;
            }
        }
    });
    Ok(address.to_string())
}

/// Ends with the connection; what went wrong is seen at the other end.
fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut message = [0; MESSAGE_LEN];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}

/// One `connect(2)` on a new socket: 0 or the errno.
fn connect(protocol: Protocol, address: SocketAddr) -> Result<i32> {
    let result = match protocol {
        Protocol::Tcp => TcpStream::connect(address).map(drop),
        Protocol::Udp => {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => "0.0.0.0:0".parse()?,
                SocketAddr::V6(_) => "[::]:0".parse()?,
            };
            UdpSocket::bind(any)?.connect(address)
        }
    };
    match result {
        Ok(()) => Ok(0),
        Err(error) => error.raw_os_error().context("an error without errno"),
    }
}

/// Connects again and again until it works: `failures last_failure_started_ns success_ended_ns`.
fn connect_until_ok(protocol: Protocol, address: SocketAddr, limit: Duration) -> Result<String> {
    let end = Instant::now() + limit;
    let mut failures = 0u64;
    let mut last_failure_started_ns = 0;
    loop {
        let started_ns = monotonic_ns();
        let errno = connect(protocol, address)?;
        if errno == 0 {
            let ended_ns = monotonic_ns();
            return Ok(format!("{failures} {last_failure_started_ns} {ended_ns}"));
        }
        failures += 1;
        last_failure_started_ns = started_ns;
        if Instant::now() > end {
            bail!("connect still fails with errno {errno} after {failures} attempts");
        }
    }
}
