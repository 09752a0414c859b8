//! Packets from outside the slice.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    ops::Range,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use observastack_loader::{Armed, abi::counts::RuleCounts};
use rustix::{
    net::{AddressFamily, Protocol, Shutdown, SocketFlags, SocketType, shutdown, socket_with},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::{
    agent::{Agent, Sink},
    scene::Scene,
    wait,
};

/// Bytes of a message: eight that look like ports to whoever takes them for a transport header, then its number.
pub(crate) const MESSAGE_LEN: usize = 16;

/// An IP protocol that nothing else uses (RFC 3692).
pub(crate) const RAW_PROTOCOL: u8 = 253;

/// A message's number, `None` where it isn't one.
pub(crate) fn sequence_of(message: &[u8]) -> Option<u64> {
    let number = message.get(8..MESSAGE_LEN)?;
    Some(u64::from_le_bytes(number.try_into().ok()?))
}

/// Message number `n`, its first bytes like a transport header whose ports are both `port`.
pub(crate) fn message(n: u64, port: u16) -> [u8; MESSAGE_LEN] {
    let mut message = [0; MESSAGE_LEN];
    message[0..2].copy_from_slice(&port.to_be_bytes());
    message[2..4].copy_from_slice(&port.to_be_bytes());
    message[8..].copy_from_slice(&n.to_le_bytes());
    message
}

/// A raw socket for [`RAW_PROTOCOL`]. The standard library's UDP socket only receives and sends, so it serves any protocol.
pub(crate) fn raw_socket() -> Result<UdpSocket> {
    let protocol = std::num::NonZeroU32::new(u32::from(RAW_PROTOCOL)).map(Protocol::from_raw);
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    )
    .context("cannot make a raw socket")?;
    Ok(socket.into())
}

/// A UDP socket outside the slice.
pub(crate) fn outside(ip: impl Into<IpAddr>) -> Result<UdpSocket> {
    Ok(UdpSocket::bind(SocketAddr::new(ip.into(), 0))?)
}

/// Sends messages with these numbers to each address in turn. Not one of these sends may fail.
///
/// The loopback device has a queue for each CPU: from one CPU, packets arrive in the order in which they were sent.
pub(crate) fn send(socket: &UdpSocket, to: &[SocketAddr], numbers: Range<u64>) -> Result<()> {
    on_one_cpu(|| {
        for n in numbers {
            for address in to {
                socket
                    .send_to(&message(n, 0), address)
                    .with_context(|| format!("message {n} to {address} is refused locally"))?;
            }
        }
        Ok(())
    })
}

/// Runs something on one CPU.
pub(crate) fn on_one_cpu<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    let first = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu));
    one.set(first.context("no CPU to run on")?);
    sched_setaffinity(None, &one)?;
    let result = run();
    sched_setaffinity(None, &before)?;
    result
}

/// What a sink has of `sent` messages when the kernel's account is complete: received plus injected is sent, or the
/// deadline has passed. The caller compares.
pub(crate) fn settled(
    scene: &Scene,
    client: &mut Agent,
    sink: Sink,
    armed: &[Armed],
    sent: u64,
) -> Result<(Vec<u64>, Vec<RuleCounts>)> {
    let mut received = Vec::new();
    let mut counts = Vec::new();
    wait::until(scene.deadline(), "every message is accounted for", || {
        counts = armed
            .iter()
            .map(|armed| scene.counts(*armed))
            .collect::<Result<Vec<_>>>()?;
        received = client.received(sink)?;
        let injected: u64 = counts.iter().map(|counts| counts.injected).sum();
        Ok(received.len() as u64 + injected == sent)
    })
    .with_context(|| {
        format!(
            "{sent} sent, {} received by the client, the kernel counts {counts:?}",
            received.len()
        )
    })?;
    Ok((received, counts))
}

/// A TCP server outside the slice that accepts and closes.
pub(crate) struct Acceptor {
    listener: TcpListener,
    accepting: Option<JoinHandle<()>>,
    pub(crate) address: SocketAddr,
}

impl Acceptor {
    pub(crate) fn start(ip: impl Into<IpAddr>) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(ip.into(), 0))?;
        let address = listener.local_addr()?;
        let accepting = listener.try_clone()?;
        let accepting = thread::spawn(move || while accepting.accept().is_ok() {});
        Ok(Self {
            listener,
            accepting: Some(accepting),
            address,
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Wakes `accept`, which then fails.
        let _ = shutdown(&self.listener, Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
