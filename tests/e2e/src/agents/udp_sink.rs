//! A sink for numbered datagrams, and the sender outside the slice.

use std::{
    net::UdpSocket,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Agent, serve};
use crate::{clock::monotonic_ns, netstat, wait};

pub(super) const VERB: &str = "agent-udp-sink";

/// So many datagrams fit into a socket's usual buffer with room to spare.
const BURST: u32 = 64;

/// What a sink has seen since it was started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Received {
    /// Numbers of the datagrams, as they came.
    pub(crate) numbers: Vec<u32>,
    /// When the first came.
    pub(crate) first_ns: u64,
}

pub(super) fn run(name: &str, port: &str) -> Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", port.parse()?))?;
    let received = Arc::new(Mutex::new(Received::default()));
    let seen = Arc::clone(&received);
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(length) = socket.recv(&mut buffer) {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            if received.numbers.is_empty() {
                received.first_ns = monotonic_ns();
            }
            if let Some(Ok(number)) = buffer[..length]
                .first_chunk()
                .map(|bytes| Ok::<_, ()>(u32::from_be_bytes(*bytes)))
            {
                received.numbers.push(number);
            }
        }
    });
    serve(name, move || {
        seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    })
}

/// A sink in a unit of its own.
#[derive(Debug)]
pub(crate) struct UdpSink {
    agent: Agent,
    port: u16,
    sender: UdpSocket,
}

impl UdpSink {
    pub(crate) fn start(name: &str, port: u16) -> Result<Self> {
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        sender.connect(("127.0.0.1", port))?;
        let agent = Agent::start(name, VERB, port)?;
        Ok(Self {
            agent,
            port,
            sender,
        })
    }

    /// The sink's unit.
    pub(crate) fn unit(&self) -> String {
        self.agent.unit()
    }

    /// Sends datagrams 0 to `count`-1, never more than the sink's buffer takes, and waits until it has read them all.
    pub(crate) fn send(&self, count: u32) -> Result<()> {
        for number in 0..count {
            self.send_one(number)?;
            if number % BURST == BURST - 1 {
                self.wait_read()?;
            }
        }
        self.wait_read()
    }

    /// Sends one datagram. Nobody listening is no error: the sink may be about to start.
    pub(crate) fn send_one(&self, number: u32) -> Result<()> {
        match self.sender.send(&number.to_be_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    fn wait_read(&self) -> Result<()> {
        // Datagrams on loopback are delivered, or dropped, before send(2) returns.
        wait::until_true(wait::SOON, "the sink has read its datagrams", || {
            Ok(netstat::udp_socket(self.port)?.waiting == 0)
        })
    }

    /// Datagrams that the kernel threw away at the sink's socket.
    pub(crate) fn socket_drops(&self) -> Result<u64> {
        Ok(netstat::udp_socket(self.port)?.drops)
    }

    /// What has arrived since the sink was started.
    pub(crate) fn received(&self) -> Result<Received> {
        self.agent.ask()
    }
}
