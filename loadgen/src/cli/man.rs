//! `man`: the man pages, for the package.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory};

/// Write the man pages.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory for the pages; made where it is missing.
    #[arg(long, value_name = "DIRECTORY")]
    out: PathBuf,
}

/// Writes observastack-loadgen.1 and a page for each verb.
pub(crate) fn main(man: &Man) -> ExitCode {
    let written = fs::create_dir_all(&man.out)
        .and_then(|()| clap_mangen::generate_to(super::Args::command(), &man.out));
    match written.with_context(|| format!("cannot write man pages to {}", man.out.display())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::failed(&error),
    }
}
