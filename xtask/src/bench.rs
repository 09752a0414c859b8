//! `cargo xtask bench`: measures the lab that `up` has made, from inside, and the fault engine on this kernel; each figure comes
//! with its reference.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::machine::{Name, State};
use crate::run::Run;
use crate::{apt, build_ebpf, package, paths, python, vm};

const PROGRAM: &str = "observastack-bench";
const REMOTE: &str = "/root/benchmarks";
const FAULTS: &str = "faults";
const OTLP: &str = "otlp";
const LOADGEN: &str = "loadgen";
const LATENCY: &str = "latency";
const PROBES: &str = "probes";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How soon faults act and end, what they cost per packet, what the lab holds in memory, or all of these; `otlp`: what telemetry
    /// costs the shop, and what the collector takes and answers, the latter without a lab; `loadgen`: how much load a core makes, beside
    /// wrk, oha, hey and Locust, at a minimal server, and at the lab's shop where there is a lab; `probes`: what kernel telemetry costs an event, and
    /// the shop where there is a lab; or `faults`: what the fault engine costs and
    /// how exact it is, on this kernel, without a lab; its latency in a guest, beside netem
    #[arg(default_value = "all", value_parser = ["effect", "overhead", "footprint", "all", OTLP, LOADGEN, PROBES, FAULTS])]
    what: String,
    /// Of `faults`, these parts only
    #[arg(value_parser = ["hooks", "loss", "effect", "cost", LATENCY])]
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
    if args.what == LOADGEN {
        return loadgen();
    }
    if args.what == PROBES {
        probes()?;
        return match State::need(Name::Lab) {
            Ok(_) => lab("observer"),
            Err(error) => {
                eprintln!("    what it costs the shop is not measured: {error}");
                Ok(())
            }
        };
    }
    if args.what == OTLP {
        // First the lab: the collector's own measurement needs both CPUs for a minute.
        lab(OTLP)?;
        return collector();
    }
    lab(&args.what)
}

/// What the collector takes and answers, on this machine: its own measurement, which is no test.
fn collector() -> Result<()> {
    let ended = Run::new("cargo")
        .args(["test", "--release", "--package", "observastack-collector"])
        .args(["--test", "throughput", "--", "--ignored", "--nocapture"])
        .limit_s(1200)
        .stream(|line| println!("{line}"))?;
    if !ended.status.success() {
        bail!("the measurement failed: see above");
    }
    Ok(())
}

/// Our generator beside others, here.
fn loadgen() -> Result<()> {
    const OURS: &str = "observastack-loadgen";
    const OHA: &str = "1.16.0";
    apt::ensure("the other load generators", &["wrk", "hey"])?;
    let locust = python::environment("venv-locust", "tests/bench/requirements.txt", "Locust")?;
    let oha = paths::cache()?.join(format!("oha-{OHA}"));
    if !oha.join("bin/oha").exists() {
        Run::new("cargo")
            .args(["install", "oha", "--locked", "--version", OHA, "--root"])
            .arg(&oha)
            .limit_s(1200)
            .step("build oha")?;
    }
    package::build_programs([PROGRAM, OURS], "build the benchmarks and the generator")?;
    let mut run = Run::new(paths::release_dir().join(PROGRAM))
        .arg(LOADGEN)
        .arg("--loadgen")
        .arg(paths::release_dir().join(OURS))
        .arg("--oha")
        .arg(oha.join("bin"))
        .arg("--locust")
        .arg(locust)
        .limit_s(900);
    if let Ok(state) = State::need(Name::Lab) {
        run = run.args(["--shop", &state.shop]);
    }
    let ended = run.stream(|line| println!("{line}"))?;
    if !ended.status.success() {
        bail!("the benchmark failed: see above");
    }
    Ok(())
}

/// Builds the programs and runs them here, as root.
fn faults(parts: &[String]) -> Result<()> {
    if parts.is_empty() || parts.iter().any(|part| part == LATENCY) {
        let totals = vm::run(&vm::Args::measurements())?;
        if totals.failed > 0 {
            bail!("the measurement failed: see above");
        }
    }
    let here: Vec<_> = parts.iter().filter(|part| *part != LATENCY).collect();
    if here.is_empty() && !parts.is_empty() {
        return Ok(());
    }
    let object = build_ebpf::build()?;
    package::build_programs([PROGRAM], "build the benchmarks")?;
    let ended = Run::root(paths::release_dir().join(PROGRAM))
        .arg(FAULTS)
        .arg("--object")
        .arg(object)
        .args(here)
        .limit_s(600)
        .stream(|line| println!("{line}"))?;
    if !ended.status.success() {
        bail!("the benchmark failed: see above");
    }
    Ok(())
}

/// What a probe costs an event, here.
fn probes() -> Result<()> {
    build_ebpf::build()?;
    package::build_programs([PROGRAM], "build the benchmarks")?;
    let ended = Run::root(paths::release_dir().join(PROGRAM))
        .arg(PROBES)
        .arg("--object")
        .arg(paths::bpf_observer())
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
