//! `drill schema`: for editors that complete and check.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use observastack_spec::scenario::{brief_schema, sealed_schema};

use crate::output;

/// Print the JSON Schema of a scenario's file.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Which of the two files.
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// scenario.yaml
    Scenario,
    /// sealed.yaml
    Sealed,
}

/// Prints it.
pub(super) fn run(schema: &Schema) -> ExitCode {
    output::json(&match schema.file {
        File::Scenario => brief_schema(),
        File::Sealed => sealed_schema(),
    });
    ExitCode::SUCCESS
}
