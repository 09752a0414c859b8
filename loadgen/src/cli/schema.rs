//! `schema`: the form of a report.

use std::process::ExitCode;

use observastack_loadgen::report;

/// Print the JSON Schema of a report.
#[derive(Debug, clap::Args)]
pub(crate) struct Schema {}

pub(crate) fn main(_: &Schema) -> ExitCode {
    print!("{}", report::schema());
    ExitCode::SUCCESS
}
