//! A process that burns CPU inside a target's cgroup: the child of [`super::actors::CpuStress`].
//!
//! It ends at its end time, when its standard input closes (the injector is dead), when no beat has come for 150 ms (the
//! injector is frozen), and when the thread that started it ends. It has no priority over the target's own processes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use observastack_loader::clock::monotonic_ns;
use rustix::{
    fs::OFlags,
    io::Errno,
    process::{Signal, set_parent_process_death_signal},
};

/// How long it burns on without a beat.
pub const SILENCE: Duration = Duration::from_millis(150);
/// Load and rest take turns this fast.
const PERIOD: Duration = Duration::from_millis(10);

/// Why a process could not begin to burn.
#[derive(Debug, thiserror::Error)]
pub enum StressError {
    /// The cgroup does not take it.
    #[error("cannot enter the cgroup {path}: {source}")]
    Cgroup {
        /// The cgroup.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process could not be set up.
    #[error("cannot {what}: {source}")]
    Setup {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Enters the cgroup and burns `percent` of one CPU until told to end.
pub fn run(cgroup: Option<&Path>, percent: u32, end_ns: u64) -> Result<(), StressError> {
    let setup = |what| {
        move |error: Errno| StressError::Setup {
            what,
            source: error.into(),
        }
    };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(setup("be ended with the injector"))?;
    // An injector that died before this has closed the pipe.
    rustix::fs::fcntl_setfl(io::stdin(), OFlags::NONBLOCK)
        .map_err(setup("listen to the injector"))?;
    // The injector runs ahead of everything and is killed last; its load must not. Giving priority up needs no capability.
    rustix::process::setpriority_process(None, 0)
        .map_err(setup("give up the injector's priority"))?;
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    if let Some(cgroup) = cgroup {
        enter(cgroup)?;
    }
    burn(percent, end_ns);
    Ok(())
}

/// Joins the cgroup, or where the kernel keeps processes out of inner ones, the first populated one below it.
fn enter(cgroup: &Path) -> Result<(), StressError> {
    let procs = cgroup.join("cgroup.procs");
    match fs::OpenOptions::new()
        .write(true)
        .open(&procs)
        .and_then(|mut file| io::Write::write_all(&mut file, b"0"))
    {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
            let below = fs::read_dir(cgroup)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.is_dir() && is_populated(path));
            below.map_or_else(
                || {
                    Err(StressError::Cgroup {
                        path: cgroup.to_owned(),
                        source: error,
                    })
                },
                |below| enter(&below),
            )
        }
        Err(source) => Err(StressError::Cgroup {
            path: cgroup.to_owned(),
            source,
        }),
    }
}

/// Whether there are processes in the cgroup, or below it.
#[must_use]
pub(crate) fn is_populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

fn burn(percent: u32, end_ns: u64) {
    let busy = PERIOD * percent.min(100) / 100;
    let mut heard = Instant::now();
    let mut period = Instant::now();
    while monotonic_ns() < end_ns {
        match hear() {
            Hearing::Beat => heard = Instant::now(),
            Hearing::Closed => return,
            Hearing::Silence if heard.elapsed() > SILENCE => return,
            Hearing::Silence => {}
        }
        while period.elapsed() < busy {
            std::hint::spin_loop();
        }
        thread::sleep(PERIOD.saturating_sub(period.elapsed()));
        period = Instant::now();
    }
}

enum Hearing {
    Beat,
    Silence,
    Closed,
}

/// Empties the pipe. A process that was not let run for a while finds its beats there, and is not misled by the time.
fn hear() -> Hearing {
    let mut buffer = [0; 256];
    let mut heard = Hearing::Silence;
    loop {
        match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) => return Hearing::Closed,
            Ok(_) => heard = Hearing::Beat,
            Err(Errno::INTR) => {}
            Err(_) => return heard,
        }
    }
}
