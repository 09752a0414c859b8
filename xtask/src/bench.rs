//! `cargo xtask bench`: measures the lab that `up` has made, from inside, and the fault engine on this kernel; each figure comes
//! with its reference.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::machine::{Name, State};
use crate::run::Run;
use crate::{build_ebpf, package, paths};

const PROGRAM: &str = "observastack-bench";
const REMOTE: &str = "/root/benchmarks";
const FAULTS: &str = "faults";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How soon faults act and end, what they cost per packet, what the lab holds in memory, or all of these; or `faults`:
    /// what the fault engine costs and how exact it is, on this kernel, without a lab
    #[arg(default_value = "all", value_parser = ["effect", "overhead", "footprint", "all", FAULTS])]
    what: String,
    /// Of `faults`, these parts only
    #[arg(value_parser = ["hooks", "loss", "effect", "cost"])]
    parts: Vec<String>,
}

/// Measures, and prints tables as Markdown for docs/benchmarks.md.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.what == FAULTS {
        return faults(&args.parts);
    }
    if !args.parts.is_empty() {
        bail!("`{}` has no parts: only `{FAULTS}` has", args.what);
    }
    lab(&args.what)
}

/// Builds the programs and runs them here, as root.
fn faults(parts: &[String]) -> Result<()> {
    let object = build_ebpf::build()?;
    package::build_programs([PROGRAM], "build the benchmarks")?;
    let ended = Run::root(paths::release_dir().join(PROGRAM))
        .arg(FAULTS)
        .arg("--object")
        .arg(object)
        .args(parts)
        .limit_s(600)
        .stream(|line| println!("{line}"))?;
    if !ended.status.success() {
        bail!("the benchmark failed: see above");
    }
    Ok(())
}

/// Builds the program, runs it in the lab, and prints its tables as Markdown for docs/benchmarks.md.
fn lab(what: &str) -> Result<()> {
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
        .ssh(name, &format!("{REMOTE} {what}"))
        .limit_s(900)
        .stream(|line| println!("{line}"));
    state.ssh(name, &format!("rm -f {REMOTE}")).output()?;
    if !ended?.status.success() {
        bail!("the benchmark failed: see above");
    }
    Ok(())
}
