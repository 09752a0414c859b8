//! `diff`: two reports side by side.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use observastack_loadgen::report::{self, Report};

/// Compare two reports that `run --report` has written.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The report of before.
    before: PathBuf,
    /// The report of after.
    after: PathBuf,
}

/// Prints the comparison.
pub(crate) fn main(diff: &Diff) -> ExitCode {
    match read(&diff.before).and_then(|before| Ok((before, read(&diff.after)?))) {
        Ok((before, after)) => {
            println!("{}", report::diff(&before, &after));
            ExitCode::SUCCESS
        }
        Err(error) => super::failed(&error),
    }
}

fn read(path: &Path) -> Result<Report> {
    let name = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let report: Report =
        serde_json::from_str(&text).with_context(|| format!("{name} is no report of `run`"))?;
    if report.version != report::VERSION {
        bail!(
            "{name} has the form {}, and this program reads {}",
            report.version,
            report::VERSION
        );
    }
    Ok(report)
}
