//! Work of a client, of a known amount.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;

use super::Agent;

impl Agent {
    /// Begins to compute on one CPU; the answer is waited for with [`Self::waited_ns`].
    pub(crate) fn begin_burn(&mut self, cpu: usize, length: Duration) -> Result<()> {
        self.begin(&format!("burn {cpu} {}", length.as_millis()))
    }

    /// Begins to make system calls (`getppid`) for so long, as fast as it goes; see [`Self::made`].
    pub(crate) fn begin_hammer(&mut self, length: Duration) -> Result<()> {
        self.begin(&format!("hammer {}", length.as_millis()))
    }

    /// How many those were.
    pub(crate) fn made(&mut self) -> Result<u64> {
        Ok(self.finish()?.parse()?)
    }

    /// How long the kernel says that it waited for its CPU while it computed.
    pub(crate) fn waited_ns(&mut self) -> Result<u64> {
        Ok(self.finish()?.parse()?)
    }

    /// Writes into so many new pages; the page faults that the kernel has counted for it.
    pub(crate) fn touch(&mut self, pages: usize) -> Result<u64> {
        Ok(self.ask(&format!("touch {pages}"))?.parse()?)
    }

    /// Begins to fill memory, which may be its end.
    pub(crate) fn begin_eat(&mut self, bytes: usize) -> Result<()> {
        self.begin(&format!("eat {bytes}"))
    }

    /// Runs on this CPU only.
    pub(crate) fn stay_on(&mut self, cpu: usize) -> Result<()> {
        self.ask(&format!("stay-on {cpu}")).map(drop)
    }

    /// Opens so many connections and resets each.
    pub(crate) fn resets(&mut self, address: SocketAddr, times: u32) -> Result<()> {
        self.ask(&format!("resets {address} {times}")).map(drop)
    }

    /// So many requests to an echo server, on one connection.
    pub(crate) fn requests(&mut self, address: SocketAddr, times: u32) -> Result<()> {
        self.ask(&format!("requests {address} {times}")).map(drop)
    }

    /// So many direct reads, writes and flushes of a device.
    pub(crate) fn direct_io(
        &mut self,
        device: &str,
        [reads, writes, flushes]: [u32; 3],
    ) -> Result<()> {
        let request = format!("direct-io {device} {reads} {writes} {flushes}");
        self.ask(&request).map(drop)
    }

    /// Listens at a port of the kernel's choice and accepts nothing.
    pub(crate) fn listen(&mut self, ip: impl Into<IpAddr>, backlog: u32) -> Result<SocketAddr> {
        let address = SocketAddr::new(ip.into(), 0);
        Ok(self.ask(&format!("listen {address} {backlog}"))?.parse()?)
    }

    /// Sleeps so many times.
    pub(crate) fn sleeps(&mut self, times: u64, length: Duration) -> Result<()> {
        self.ask(&format!("sleeps {times} {}", length.as_millis()))
            .map(drop)
    }

    /// Opens a missing file so many times.
    pub(crate) fn open_missing(&mut self, times: u32) -> Result<()> {
        self.ask(&format!("open-missing {times}")).map(drop)
    }
}
