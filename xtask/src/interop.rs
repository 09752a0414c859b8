//! The interop lane: the collector and the agent's protocol beside programs of other makes, from PyPI.

use std::path::PathBuf;

use anyhow::Result;

use crate::results::Totals;
use crate::run::Run;
use crate::{package, paths, python};

const COLLECTOR: &str = "observastack-collector";
const CTL: &str = "observastack-ctl";

/// The environment with programs and libraries of other makes; its `bin` folder is given back.
fn environment() -> Result<PathBuf> {
    python::environment(
        "venv-interop",
        "tests/interop/requirements.txt",
        "the programs of other makes",
    )
}

/// Reads a text as OpenMetrics, with Prometheus's client library for Python; what there is in it.
pub(crate) fn read_open_metrics(text: String) -> Result<String> {
    Run::new(environment()?.join("python"))
        .arg(paths::root().join("tests/interop/openmetrics.py"))
        .input(text)
        .limit_s(60)
        .output()
}

/// OpenTelemetry's SDK for Python sends to the collector, and a receiver of another make gets what it forwards; the official client of the Model Context
/// Protocol takes the command line's tools.
pub(crate) fn run(filter: Option<&str>) -> Result<Totals> {
    package::build_programs([COLLECTOR, CTL], "build the collector and the command line")?;
    let bin = environment()?;
    let mut totals = Totals::default();
    let ended = Run::new(bin.join("python"))
        .arg(paths::root().join("tests/interop/interop.py"))
        .arg(paths::release_dir().join(COLLECTOR))
        .arg(paths::release_dir().join(CTL))
        .args(filter)
        .limit_s(600)
        .stream(|line| {
            println!("{line}");
            totals.read(line);
        })?;
    if !ended.status.success() && totals.failed == 0 {
        let reason = format!("it ended without a result ({})", ended.status);
        totals.fail("interop", &reason);
    }
    Ok(totals)
}
