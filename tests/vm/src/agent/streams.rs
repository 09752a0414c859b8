//! TCP streams and datagrams of a client.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{Agent, Protocol, numbers};
use crate::streams::Received;

/// A server of a client that reads streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receiver {
    index: usize,
    pub(crate) address: SocketAddr,
}

impl Agent {
    /// Starts a server that sends every datagram back.
    pub(crate) fn udp_echo(&mut self, ip: impl Into<IpAddr>) -> Result<SocketAddr> {
        let address = SocketAddr::new(ip.into(), 0);
        Ok(self.ask(&format!("udp-echo {address}"))?.parse()?)
    }

    /// Sends messages with these numbers in datagrams of so many bytes. Not one of these sends may fail.
    pub(crate) fn udp_send(
        &mut self,
        from: impl Into<IpAddr>,
        to: SocketAddr,
        numbers: Range<u64>,
        length: usize,
    ) -> Result<()> {
        let Range { start, end } = numbers;
        let from = from.into();
        self.ask(&format!("udp-send {from} {to} {start} {end} {length}"))?;
        Ok(())
    }

    /// Binds a new socket so many times; each 0 or an errno.
    pub(crate) fn bind(
        &mut self,
        protocol: Protocol,
        address: SocketAddr,
        times: u32,
    ) -> Result<Vec<i32>> {
        numbers(&self.ask(&format!("bind {protocol} {address} {times}"))?)
    }

    /// Starts a server that reads streams.
    pub(crate) fn tcp_receiver(&mut self, ip: impl Into<IpAddr>) -> Result<Receiver> {
        let answer = self.ask(&format!("tcp-receive {}", ip.into()))?;
        let (index, address) = answer.split_once(' ').context("half an answer")?;
        Ok(Receiver {
            index: index.parse()?,
            address: address.parse()?,
        })
    }

    /// What a server has read.
    pub(crate) fn tcp_received(&mut self, receiver: Receiver) -> Result<Received> {
        let answer = self.ask(&format!("tcp-received {}", receiver.index))?;
        match numbers(&answer)?.as_slice() {
            [bytes, wrong, ended] => Ok(Received {
                bytes: *bytes,
                wrong: *wrong,
                ended: *ended,
            }),
            other => bail!("not three numbers: {other:?}"),
        }
    }

    /// Begins to send a stream. The answer is waited for with [`Self::tcp_sent`].
    pub(crate) fn begin_tcp_send(&mut self, to: SocketAddr, bytes: u64, mss: u32) -> Result<()> {
        self.begin(&format!("tcp-send {to} {bytes} {mss}"))
    }

    /// How long it took until the peer had read all of a stream.
    pub(crate) fn tcp_sent(&mut self) -> Result<Duration> {
        Ok(Duration::from_nanos(self.finish()?.parse()?))
    }
}
