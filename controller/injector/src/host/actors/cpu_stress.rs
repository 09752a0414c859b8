//! Burns CPU inside a unit's own cgroup, so that it competes with the unit for the unit's share.
//!
//! The processes ([`crate::host::stress`]) belong to the unit as far as systemd is concerned: a restart ends them, and they are
//! started again in the new cgroup.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::fs::OFlags;
use tracing::debug;

use super::Run;
use crate::host::stress;

/// How often the processes are told that the injector is alive.
const BEAT: Duration = Duration::from_millis(40);
/// How long after a process has ended it is started again.
const RESTART: Duration = Duration::from_millis(250);

/// Burns CPU.
#[derive(Clone, Debug)]
pub struct CpuStress {
    /// The unit's cgroup; `None` burns where the injector is, which only a test wants.
    pub cgroup: Option<PathBuf>,
    /// How many processes.
    pub processes: u32,
    /// How much of one CPU each uses, in percent.
    pub percent: u32,
    /// The injector's binary, which has the subcommand `stress`.
    pub binary: PathBuf,
}

struct Burner {
    child: Child,
    beats: ChildStdin,
}

impl CpuStress {
    pub(super) fn run(&self, run: &Run) {
        let wanted = self.processes as usize;
        let mut burners: Vec<Burner> = Vec::new();
        let mut tried: Option<Instant> = None;
        loop {
            burners.retain_mut(|burner| burner.beat());
            let is_due = tried.is_none_or(|tried| tried.elapsed() >= RESTART);
            if burners.len() < wanted && is_due && self.is_up() {
                tried = Some(Instant::now());
                for _ in burners.len()..wanted {
                    match self.start(run.end_ns) {
                        Ok(burner) => {
                            burners.push(burner);
                            run.counts.add(1, 1, 0);
                        }
                        Err(error) => {
                            run.failed(&error, "cannot start a process that burns CPU");
                            run.counts.add(1, 0, 1);
                        }
                    }
                }
            }
            if !run.pause(BEAT) {
                break;
            }
        }
        debug!(fault = run.id, processes = burners.len(), "the load ends");
        // Dropping them kills them.
    }

    /// A process in the cgroup of a stopped unit would keep systemd from starting it.
    fn is_up(&self) -> bool {
        self.cgroup.as_deref().is_none_or(stress::is_populated)
    }

    fn start(&self, end_ns: u64) -> io::Result<Burner> {
        let mut command = Command::new(&self.binary);
        command
            .args(["stress", "--percent", &self.percent.to_string()])
            .args(["--end-ns", &end_ns.to_string()]);
        if let Some(cgroup) = &self.cgroup {
            command.arg("--cgroup").arg::<&Path>(cgroup);
        }
        let mut child = command
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let Some(beats) = child.stdin.take() else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other("a process without its pipe"));
        };
        rustix::fs::fcntl_setfl(beats.as_fd(), OFlags::NONBLOCK)?;
        Ok(Burner { child, beats })
    }
}

impl Burner {
    /// Tells the process that the injector is alive. False where it has ended.
    fn beat(&mut self) -> bool {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return false;
        }
        match self.beats.write_all(&[1]) {
            Ok(()) => true,
            // Frozen for a long time, and its pipe is full of beats.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
