//! A server that sends every datagram back, and the client outside the slice.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{Agent, serve};
use crate::wait;

pub(super) const VERB: &str = "agent-udp-echo";

/// So many datagrams fit into a socket's usual buffer with room to spare: small ones, and the largest.
const BURSTS: (u32, u32) = (64, 16);
/// What is a small one, in bytes.
const SMALL: usize = 256;
/// The largest datagram that is sent.
const LARGEST: usize = 4_096;

pub(super) fn run(name: &str, port: &str) -> Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", port.parse()?))?;
    let answered = Arc::new(AtomicU64::new(0));
    let shown = Arc::clone(&answered);
    thread::spawn(move || {
        let mut buffer = [0; LARGEST];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], peer);
            answered.fetch_add(1, Ordering::Release);
        }
    });
    serve(name, move || shown.load(Ordering::Acquire))
}

/// An echo in a unit of its own.
#[derive(Debug)]
pub(crate) struct UdpEcho {
    agent: Agent,
    client: UdpSocket,
    /// The next number of those that are asked one by one.
    asked: AtomicU32,
}

impl UdpEcho {
    pub(crate) fn start(name: &str, port: u16) -> Result<Self> {
        let client = UdpSocket::bind("127.0.0.1:0")?;
        client.connect(("127.0.0.1", port))?;
        client.set_nonblocking(true)?;
        let agent = Agent::start(name, VERB, port)?;
        Ok(Self {
            agent,
            client,
            asked: AtomicU32::new(1 << 31),
        })
    }

    /// The echo's unit.
    pub(crate) fn unit(&self) -> String {
        self.agent.unit()
    }

    /// How many datagrams the unit has sent back, as it believes.
    pub(crate) fn answered(&self) -> Result<u64> {
        self.agent.ask()
    }

    /// Sends datagrams 0 to `count`-1 of `size` bytes, and gives the numbers of those that came back. None may be lost
    /// on the way to the unit.
    pub(crate) fn exchange(&self, count: u32, size: usize) -> Result<BTreeSet<u32>> {
        let before = self.answered()?;
        let mut back = BTreeSet::new();
        let burst = if size <= SMALL { BURSTS.0 } else { BURSTS.1 };
        for number in 0..count {
            self.send(number, size)?;
            if number % burst == burst - 1 || number == count - 1 {
                // A datagram that is sent back on loopback has arrived, or is lost, when send(2) returns.
                let wanted = before + u64::from(number) + 1;
                wait::until_true(wait::SOON, "the unit has answered", || {
                    let answered = self.answered()?;
                    ensure!(answered >= wanted, "{answered} of {wanted}");
                    Ok(true)
                })?;
                self.receive(&mut back)?;
            }
        }
        Ok(back)
    }

    /// Sends one datagram. Nobody listening is no error.
    pub(crate) fn send(&self, number: u32, size: usize) -> Result<()> {
        let mut datagram = vec![0; size.clamp(4, LARGEST)];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        match self.client.send(&datagram) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Whether a datagram comes back within this time.
    pub(crate) fn answers_within(&self, patience: Duration) -> Result<bool> {
        self.answers_within_sized(patience, 4)
    }

    /// Whether a datagram of so many bytes comes back within this time. What is under way from before does not count.
    pub(crate) fn answers_within_sized(&self, patience: Duration, size: usize) -> Result<bool> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut back = BTreeSet::new();
        self.receive(&mut back)?;
        self.send(number, size)?;
        let end = Instant::now() + patience;
        loop {
            self.receive(&mut back)?;
            if back.contains(&number) {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn receive(&self, back: &mut BTreeSet<u32>) -> Result<()> {
        let mut buffer = [0; LARGEST];
        loop {
            match self.client.recv(&mut buffer) {
                Ok(_) => {
                    let mut number = [0; 4];
                    number.copy_from_slice(&buffer[..4]);
                    back.insert(u32::from_be_bytes(number));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // The answer to an earlier send while nobody listened.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
