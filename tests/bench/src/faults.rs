//! What the fault engine costs and how exact it is, on the kernel that is there, without an installed lab: rules are armed
//! through the loader, in cgroups made for it.

mod cost;
mod effect;
pub(crate) mod ground;
mod hooks;
mod loss;
mod rules;
pub(crate) mod run_time;
pub(crate) mod swapped;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

pub(crate) use self::effect::Hold;

/// What the fault engine costs, and how exact it is.
#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// The parts to measure; all where none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
    #[command(flatten)]
    here: Here,
}

/// What every benchmark of this machine's own kernel is told.
#[derive(Debug, Args)]
pub(crate) struct Here {
    /// The eBPF object.
    #[arg(long)]
    pub(crate) object: PathBuf,
    /// Where the unified cgroup hierarchy is mounted.
    #[arg(long, default_value_os_t = default_root())]
    pub(crate) cgroup_root: PathBuf,
    /// Turns of each variant.
    #[arg(long, default_value_t = 21)]
    pub(crate) turns: u32,
}

impl Here {
    /// Says which kernel it is; an error for whoever may not load programs.
    pub(crate) fn begin(&self) -> Result<()> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "this loads programs into the kernel: run it as root"
        );
        let kernel = rustix::system::uname();
        println!("kernel {}\n", kernel.release().to_string_lossy());
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What a hook costs beyond an empty program.
    Hooks,
    /// Whether as many packets are lost as were asked for.
    Loss,
    /// How soon a fault acts and ends.
    Effect,
    /// What work costs under a rule, through a proxy and under strace.
    Cost,
}

impl Faults {
    pub(crate) fn run(&self) -> Result<()> {
        self.here.begin()?;
        let (object, root) = (self.here.object.as_path(), self.here.cgroup_root.as_path());
        if self.wants(Part::Hooks) {
            hooks::run(object, root, self.here.turns)?;
        }
        if self.wants(Part::Loss) {
            loss::run(object, root)?;
        }
        if self.wants(Part::Effect) {
            effect::run(object, root)?;
        }
        if self.wants(Part::Cost) {
            cost::run(object, root, self.here.turns)?;
        }
        Ok(())
    }

    fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// Beside version 1 hierarchies, the unified one has a directory of its own.
fn default_root() -> PathBuf {
    let beside = Path::new("/sys/fs/cgroup/unified");
    let is_there = beside.join("cgroup.procs").exists();
    if is_there {
        beside
    } else {
        Path::new("/sys/fs/cgroup")
    }
    .to_owned()
}
