//! A process that binds a UDP port and lets it go again, without a pause.

use std::net::UdpSocket;

use anyhow::Result;

use super::{
    Agent,
    connect_probe::{self, Seen},
};
use crate::wait;

pub(super) const VERB: &str = "agent-bind-probe";

pub(super) fn run(name: &str, port: &str) -> Result<()> {
    let port: u16 = port.parse()?;
    connect_probe::watch(name, move || UdpSocket::bind(("127.0.0.1", port)).map(drop))
}

/// A probe in a unit of its own.
#[derive(Debug)]
pub(crate) struct BindProbe {
    agent: Agent,
}

impl BindProbe {
    /// Starts a probe of a port that nobody else may have.
    pub(crate) fn start(name: &str, port: u16) -> Result<Self> {
        let agent = Agent::start(name, VERB, port)?;
        Ok(Self { agent })
    }

    /// The probe's unit.
    pub(crate) fn unit(&self) -> String {
        self.agent.unit()
    }

    /// What the probe has seen since it was started.
    pub(crate) fn seen(&self) -> Result<Seen> {
        self.agent.ask()
    }

    /// Waits until the last `run_length` attempts were all faulted, or all not.
    pub(crate) fn wait_for(&self, faulted: bool, run_length: u64) -> Result<Seen> {
        let what = if faulted {
            "binds are faulted"
        } else {
            "binds are no longer faulted"
        };
        wait::until(wait::SOON, what, || {
            let seen = self.seen()?;
            Ok((seen.now_faulted == faulted && seen.run_length >= run_length).then_some(seen))
        })
    }
}
