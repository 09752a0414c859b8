//! A server that reads all it gets and says at the end how much that was; the client outside the slice.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Agent, serve};

pub(super) const VERB: &str = "agent-tcp-sink";

/// What a sink has seen since it was started. Errors are counted by number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Connections that were accepted.
    pub(crate) accepted: u64,
    /// Errors of accept(2).
    pub(crate) accept_errors: BTreeMap<i32, u64>,
    /// Errors of read(2).
    pub(crate) read_errors: BTreeMap<i32, u64>,
    /// Bytes that were read.
    pub(crate) bytes: u64,
}

type Shared = Arc<Mutex<Seen>>;

fn note(seen: &Shared, change: impl FnOnce(&mut Seen)) {
    change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

pub(super) fn run(name: &str, port: &str) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?))?;
    let seen = Shared::default();
    let shown = Arc::clone(&seen);
    thread::spawn(move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    note(&seen, |seen| seen.accepted += 1);
                    let seen = Arc::clone(&seen);
                    thread::spawn(move || drain(stream, &seen));
                }
                Err(error) => {
                    note(&seen, |seen| {
                        *seen.accept_errors.entry(number(&error)).or_default() += 1;
                    });
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    });
    serve(name, move || {
        shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    })
}

fn drain(mut stream: TcpStream, seen: &Shared) {
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                total += length as u64;
                note(seen, |seen| seen.bytes += length as u64);
            }
            Err(error) => {
                return note(seen, |seen| {
                    *seen.read_errors.entry(number(&error)).or_default() += 1;
                });
            }
        }
    }
    let _ = stream.write_all(total.to_string().as_bytes());
}

/// A sink in a unit of its own.
#[derive(Debug)]
pub(crate) struct TcpSink {
    agent: Agent,
    port: u16,
}

impl TcpSink {
    pub(crate) fn start(name: &str, port: u16) -> Result<Self> {
        let agent = Agent::start(name, VERB, port)?;
        Ok(Self { agent, port })
    }

    /// The sink's unit.
    pub(crate) fn unit(&self) -> String {
        self.agent.unit()
    }

    /// What it has seen.
    pub(crate) fn seen(&self) -> Result<Seen> {
        self.agent.ask()
    }

    /// A new connection to it. No call on it takes longer than `patience`.
    pub(crate) fn connect(&self, patience: Duration) -> io::Result<TcpStream> {
        let address = ([127, 0, 0, 1], self.port).into();
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(stream)
    }

    /// Sends so many bytes on a connection of its own; whether the sink says in time that it got them all.
    pub(crate) fn takes(&self, bytes: usize, patience: Duration) -> Result<bool> {
        match self.send(bytes, patience) {
            Ok(total) => Ok(total == bytes.to_string()),
            Err(error) if is_late(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends so many bytes on a connection of its own; what the sink says at the end.
    pub(crate) fn send(&self, bytes: usize, patience: Duration) -> io::Result<String> {
        let mut stream = self.connect(patience)?;
        stream.write_all(&vec![7; bytes])?;
        stream.shutdown(Shutdown::Write)?;
        let mut total = String::new();
        stream.read_to_string(&mut total)?;
        Ok(total)
    }
}

/// Whether a call has only taken too long.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
