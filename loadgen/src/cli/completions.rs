//! `completions`: a shell's completion script.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a shell's completion script.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: observastack-loadgen completions bash > /etc/bash_completion.d/observastack-loadgen"
)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub(crate) fn main(completions: &Completions) -> ExitCode {
    let mut command = super::Args::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(
        completions.shell,
        &mut command,
        name,
        &mut std::io::stdout(),
    );
    ExitCode::SUCCESS
}
