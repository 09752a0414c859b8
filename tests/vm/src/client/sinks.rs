//! Sockets of a client that collect messages.

use std::{
    fmt::Write as _,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use anyhow::{Context, Result};
use rustix::net::sockopt;

use crate::traffic::{raw_socket, sequence_of};

/// Room for every datagram of a test: what is missing was lost by the fault, not by a full buffer.
const RECEIVE_BUFFER: usize = 64 << 20;

/// Length of an IPv4 header without options, which a raw socket receives too.
const IPV4_HEADER: usize = 20;

/// A socket that collects messages.
pub(super) struct Sink {
    pub(super) socket: UdpSocket,
    header: usize,
    seen: Vec<u64>,
}

impl Sink {
    pub(super) fn udp(address: SocketAddr) -> Result<Self> {
        Self::new(UdpSocket::bind(address)?, 0)
    }

    pub(super) fn raw() -> Result<Self> {
        Self::new(raw_socket()?, IPV4_HEADER)
    }

    fn new(socket: UdpSocket, header: usize) -> Result<Self> {
        sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            header,
            seen: Vec::new(),
        })
    }

    /// Where it listens. A raw socket has no address worth telling.
    pub(super) fn address(&self) -> SocketAddr {
        self.socket
            .local_addr()
            .unwrap_or_else(|_| (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Every message so far, in the order of arrival.
    pub(super) fn received(&mut self) -> Result<String> {
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
