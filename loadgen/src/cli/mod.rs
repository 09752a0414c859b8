//! The command line: a file for each verb.

pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod man;
mod outputs;
mod plan;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod shapes;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load on HTTP services: open loop without coordinated omission, or closed loop.
#[derive(Debug, Parser)]
#[command(
    name = "observastack-loadgen",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 it failed or a threshold does not hold, 2 the request was wrong."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(Box<run::Run>),
    Diff(diff::Diff),
    Shapes(shapes::Shapes),
    Schema(schema::Schema),
    Serve(serve::Serve),
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(man::Man),
}

/// The request was wrong.
fn usage(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(2)
}

/// It failed.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
