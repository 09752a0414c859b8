//! A process that connects to a port where nobody listens, without a pause: it gets ECONNREFUSED from the network, and
//! the fault's own error while there is one.

use std::{
    io,
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Agent, serve};
use crate::{clock::monotonic_ns, wait};

pub(super) const VERB: &str = "agent-connect-probe";

/// The error that tests make the probe's connects fail with.
pub(crate) const FAULT: &str = "EHOSTUNREACH";
const FAULT_NUMBER: i32 = rustix::io::Errno::HOSTUNREACH.raw_os_error();

/// Between two attempts: short against every time that is measured, long enough to leave the CPU to others.
const PACE: Duration = Duration::from_micros(100);

/// What a probe has seen since it was started. A run is a series of attempts with the same outcome.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Attempts that failed with [`FAULT`].
    pub(crate) faulted: u64,
    /// All others.
    pub(crate) unfaulted: u64,
    /// Whether the very first attempt was faulted.
    pub(crate) first_faulted: bool,
    /// Whether the current run is one of faulted attempts.
    pub(crate) now_faulted: bool,
    /// When the current run's first attempt returned.
    pub(crate) run_began_ns: u64,
    /// When the last attempt of the run before returned; 0 before the second run.
    pub(crate) last_run_ended_ns: u64,
    /// When the last attempt returned.
    pub(crate) last_ns: u64,
    /// Attempts in the current run.
    pub(crate) run_length: u64,
}

impl Seen {
    fn note(&mut self, faulted: bool, now_ns: u64) {
        if self.faulted + self.unfaulted == 0 {
            self.first_faulted = faulted;
            self.run_began_ns = now_ns;
        } else if faulted != self.now_faulted {
            self.last_run_ended_ns = self.last_ns;
            self.run_began_ns = now_ns;
            self.run_length = 0;
        }
        self.now_faulted = faulted;
        self.last_ns = now_ns;
        self.run_length += 1;
        *if faulted {
            &mut self.faulted
        } else {
            &mut self.unfaulted
        } += 1;
    }
}

pub(super) fn run(name: &str, port: &str) -> Result<()> {
    let port: u16 = port.parse()?;
    watch(name, move || {
        TcpStream::connect(("127.0.0.1", port)).map(drop)
    })
}

/// Tries without a pause, and serves what came of it.
pub(super) fn watch(
    name: &str,
    attempt: impl Fn() -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shown = Arc::clone(&seen);
    thread::spawn(move || {
        loop {
            let outcome = attempt();
            let faulted = matches!(&outcome, Err(error) if is_fault(error));
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .note(faulted, monotonic_ns());
            thread::sleep(PACE);
        }
    });
    serve(name, move || {
        *shown.lock().unwrap_or_else(PoisonError::into_inner)
    })
}

fn is_fault(error: &io::Error) -> bool {
    error.raw_os_error() == Some(FAULT_NUMBER)
}

/// A probe in a unit of its own.
#[derive(Debug)]
pub(crate) struct ConnectProbe {
    agent: Agent,
    port: u16,
}

impl ConnectProbe {
    /// Starts a probe against a port where nobody may listen.
    pub(crate) fn start(name: &str, port: u16) -> Result<Self> {
        ensure!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "somebody listens on port {port}"
        );
        let agent = Agent::start(name, VERB, port)?;
        Ok(Self { agent, port })
    }

    /// The probe's unit.
    pub(crate) fn unit(&self) -> String {
        self.agent.unit()
    }

    /// The arguments of `inject` that make every attempt of the probe fail.
    pub(crate) fn fault<'a>(&self, unit: &'a str, held: &'a str) -> [&'a str; 7] {
        [
            "connect-error",
            "--unit",
            unit,
            "--errno",
            FAULT,
            "--for",
            held,
        ]
    }

    /// The same as the injector's API takes it, on the probe's port only.
    pub(crate) fn request(&self, for_ms: u64) -> String {
        serde_json::json!({
            "unit": self.unit(),
            "fault": {"kind": "connect-error", "port": self.port, "errno": FAULT},
            "for_ms": for_ms,
        })
        .to_string()
    }

    /// What the probe has seen since it was started.
    pub(crate) fn seen(&self) -> Result<Seen> {
        self.agent.ask()
    }

    /// Waits until the last `run_length` attempts were all faulted, or all not.
    pub(crate) fn wait_for(&self, faulted: bool, run_length: u64) -> Result<Seen> {
        let what = if faulted {
            "connects are faulted"
        } else {
            "connects are no longer faulted"
        };
        wait::until(wait::SOON, what, || {
            let seen = self.seen()?;
            Ok((seen.now_faulted == faulted && seen.run_length >= run_length).then_some(seen))
        })
    }
}
