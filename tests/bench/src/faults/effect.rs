//! How soon a rule acts, stops, and is gone with its holder: the loader alone, without the injector's socket.

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use observastack_loader::Loader;

use super::{
    ground::{Ground, UNIT},
    rules::{HOUR, Plan, after_ns},
};
use crate::{
    effect::{PORT, add_and_delete_rule},
    probe::Running,
    stats::{Samples, now_ns},
    worker::lines,
};

const ROUNDS: u32 = 100;
const KILLS: u32 = 20;

/// How long a process may take to load the programs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that holds a rule until it is killed.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[arg(long)]
    object: PathBuf,
    #[arg(long)]
    cgroup_root: PathBuf,
    #[arg(long)]
    slice: String,
}

impl Hold {
    pub(crate) fn run(self) -> Result<()> {
        let mut loader = Loader::load(&self.object, &self.cgroup_root, &[self.slice])?;
        loader.set_lease(after_ns(HOUR))?;
        loader.arm(UNIT, &Plan::of(1.0, 1).port(PORT).connect_error())?;
        println!("held");
        // Whoever started this holds the other end.
        std::io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

pub(super) fn run(object: &Path, root: &Path) -> Result<()> {
    let ground = Ground::make(root)?;
    let mut probe = Running::start_in(&ground.unit, PORT)?;
    let mut loader = ground.load(object)?;
    let rule = Plan::of(1.0, 1).port(PORT).connect_error();
    let mut attaching = Samples::default();
    let mut ours = (Samples::default(), Samples::default());
    let mut netfilter = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        for is_attached in [false, true] {
            let asked_ns = now_ns();
            let armed = loader.arm(UNIT, &rule)?;
            let took_ns = probe.wait_for(true)?.at_ns.saturating_sub(asked_ns);
            if is_attached {
                ours.0.push(took_ns);
            } else {
                attaching.push(took_ns);
            }
            let asked_ns = now_ns();
            loader.disarm(armed)?;
            ours.1
                .push(probe.wait_for(false)?.at_ns.saturating_sub(asked_ns));
        }
        loader.detach_idle();
        add_and_delete_rule(&mut probe, &mut netfilter)?;
    }
    let mut killed = Samples::default();
    for _ in 0..KILLS {
        let mut holder = Holder::start(object, root, ground.slice_name())?;
        probe.wait_for(true)?;
        let sent_ns = now_ns();
        holder.child.kill()?;
        killed.push(probe.wait_for(false)?.at_ns.saturating_sub(sent_ns));
    }
    println!(
        "| effect of, loader alone | n | median ms | p99 ms | largest ms |\n|---|---|---|---|---|"
    );
    for (name, samples) in [
        (
            "arm with the programs attached, to first faulted connect",
            &ours.0,
        ),
        (
            "arm with nothing attached, to first faulted connect",
            &attaching,
        ),
        (
            "reference: nft adds a drop rule, start to first refused send",
            &netfilter.0,
        ),
        ("disarm to first good connect", &ours.1),
        (
            "reference: nft deletes its table, start to first good send",
            &netfilter.1,
        ),
        ("kill -9 of the holder to first good connect", &killed),
    ] {
        println!("{}", samples.row_ms(name));
    }
    println!();
    Ok(())
}

struct Holder {
    child: Child,
}

impl Holder {
    fn start(object: &Path, root: &Path, slice: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["hold", "--slice", slice, "--object"])
            .arg(object)
            .arg("--cgroup-root")
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process that holds a rule")?;
        let output = child.stdout.take().context("a holder without output")?;
        let holder = Self { child };
        let line = lines(output).recv_timeout(PATIENCE);
        ensure!(line.is_ok_and(|line| line == "held"), "no rule is held");
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
