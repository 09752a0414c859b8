//! `cargo xtask bench`: measures the lab that `up` has made, from inside; each figure comes with its reference.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::machine::{Name, State};
use crate::{package, paths};

const PROGRAM: &str = "observastack-bench";
const REMOTE: &str = "/root/benchmarks";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How soon faults act and end, what they cost per packet, what the lab holds in memory, or everything
    #[arg(default_value = "all", value_parser = ["effect", "overhead", "footprint", "all"])]
    what: String,
}

/// Builds the program, runs it in the lab, and prints its tables as Markdown for docs/benchmarks.md.
pub(crate) fn run(args: &Args) -> Result<()> {
    let name = Name::Lab;
    let state = State::need(name)?;
    package::build_programs([PROGRAM], "build the benchmarks")?;
    let program =
        fs::read(paths::release_dir().join(PROGRAM)).context("the benchmarks are not built")?;
    state
        .ssh(name, &format!("cat > {REMOTE} && chmod 755 {REMOTE}"))
        .input(program)
        .limit_s(60)
        .output()?;
    let ended = state
        .ssh(name, &format!("{REMOTE} {}", args.what))
        .limit_s(900)
        .stream(|line| println!("{line}"));
    state.ssh(name, &format!("rm -f {REMOTE}")).output()?;
    if !ended?.status.success() {
        bail!("the benchmark failed: see above");
    }
    Ok(())
}
