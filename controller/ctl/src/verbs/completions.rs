//! `completions`: a shell's completion script.

use std::{io, process::ExitCode};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a shell's completion script.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-ctl completions bash > /etc/bash_completion.d/observastack-ctl"
)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(completions: &Completions) -> ExitCode {
    let mut command = crate::args::Args::command();
    clap_complete::generate(
        completions.shell,
        &mut command,
        "observastack-ctl",
        &mut io::stdout(),
    );
    ExitCode::SUCCESS
}
