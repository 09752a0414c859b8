//! `man`: the man pages, for the package.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory};

use crate::failure::Failure;

/// Write the man pages.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory for the pages; made where it is missing.
    #[arg(long, value_name = "DIRECTORY")]
    out: PathBuf,
}

/// Writes observastack-ctl.1 and a page for each verb.
pub(crate) fn run(man: &Man) -> Result<ExitCode, Failure> {
    let failed = |source| Failure::Io {
        what: format!("cannot write man pages to {}", man.out.display()),
        source,
    };
    fs::create_dir_all(&man.out).map_err(failed)?;
    clap_mangen::generate_to(crate::args::Args::command(), &man.out).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
