//! `completions`: a shell's completion script.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::output;

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
    let mut script = Vec::new();
    let mut command = crate::args::Args::command();
    clap_complete::generate(
        completions.shell,
        &mut command,
        "observastack-ctl",
        &mut script,
    );
    output::line(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}
