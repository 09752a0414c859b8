//! A client inside the unit under test that notices at once when a fault begins and ends.
//!
//! Some thousand times a second it connects a UDP socket and sends one datagram: `connect` fails under
//! `connect-error`, `send` under a netfilter rule, the reference.

use std::{
    io::Write,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{stats::now_ns, worker};

/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The unit that the probe runs in.
pub(crate) const UNIT: &str = "observastack-bench-probe.service";

/// The client in the unit under test.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// The port to connect to.
    #[arg(long)]
    port: u16,
    /// The cgroup to enter first, where systemd has not put it into one.
    #[arg(long)]
    cgroup: Option<PathBuf>,
}

impl Probe {
    /// Prints a line at each change: the time of the first event of the new kind, and which kind it is.
    pub(crate) fn run(self) -> Result<()> {
        if let Some(cgroup) = &self.cgroup {
            worker::enter(cgroup)?;
        }
        let mut out = std::io::stdout().lock();
        let mut was_faulted = true;
        loop {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let at_ns = now_ns();
            let faulted = socket
                .connect(("127.0.0.1", self.port))
                .and_then(|()| socket.send(b"x"))
                .is_err_and(is_fault);
            if faulted != was_faulted {
                writeln!(out, "{at_ns} {}", u8::from(faulted))?;
                out.flush()?;
                was_faulted = faulted;
            }
            thread::sleep(Duration::from_micros(20));
        }
    }
}

/// Nobody reads what is sent, so the kernel may report an earlier datagram as refused: that is no fault.
fn is_fault(error: std::io::Error) -> bool {
    error.kind() != std::io::ErrorKind::ConnectionRefused
}

/// A running probe, as the benchmark sees it. Ends, with its unit, when dropped.
pub(crate) struct Running {
    child: Child,
    has_unit: bool,
    lines: mpsc::Receiver<String>,
}

/// A change that the probe saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// When the first event of the new kind happened, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) at_ns: u64,
    /// Whether it was faulted.
    pub(crate) faulted: bool,
}

impl Running {
    /// Starts the probe in a unit of its own in the target slice, and waits for its first event.
    pub(crate) fn start(port: u16) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = Command::new("systemd-run");
        command
            .args([
                "--quiet",
                "--pipe",
                "--wait",
                "--collect",
                "--slice=observastack-sut.slice",
            ])
            .arg(format!("--unit={UNIT}"))
            .arg(program)
            .args(["probe", "--port", &port.to_string()]);
        Self::spawn(&mut command, true).context("with systemd-run")
    }

    /// Starts the probe in a cgroup, where there is no systemd, and waits for its first event.
    pub(crate) fn start_in(cgroup: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["probe", "--port", &port.to_string(), "--cgroup"])
            .arg(cgroup);
        Self::spawn(&mut command, false)
    }

    fn spawn(command: &mut Command, has_unit: bool) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the probe")?;
        let stdout = child.stdout.take().context("the probe has no output")?;
        let mut running = Self {
            child,
            has_unit,
            lines: worker::lines(stdout),
        };
        running.wait_for(false)?;
        Ok(running)
    }

    /// Waits for the next change to this kind.
    pub(crate) fn wait_for(&mut self, faulted: bool) -> Result<Change> {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .context("the probe has ended, or sees no change")?;
            let (at_ns, kind) = line
                .trim()
                .split_once(' ')
                .context("a line of the probe is not understood")?;
            let change = Change {
                at_ns: at_ns.parse()?,
                faulted: kind == "1",
            };
            if change.faulted == faulted {
                return Ok(change);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_unit {
            let _ = Command::new("systemctl").args(["stop", UNIT]).status();
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
