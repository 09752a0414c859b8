//! The privileged service that carries out faults.
//!
//! A request goes `api` → [`observastack_spec`] (validation) → `scope` → `engine` → `lowering` → the loader's
//! maps; clearing is the same list backwards. One thread, the `engine`'s, owns everything that is loaded into the kernel.
//! What the kernel does not undo by itself is in [`host`]: journalled, timed, and given back whatever happens.
#![forbid(unsafe_code)]

mod api;
mod args;
mod carry_out;
mod config;
mod engine;
mod facts;
pub mod host;
mod instance;
mod lowering;
mod machine;
mod metrics;
mod offline;
mod report;
mod run;
mod scope;
mod volume;

use std::process::ExitCode;

use clap::Parser;

/// What the program does: reads the command line, runs the service or one of its subcommands.
#[must_use]
pub fn main() -> ExitCode {
    // clap itself exits with 2 on bad usage.
    let args = args::Args::parse();
    let done = match &args.command {
        None => run::run(&args),
        Some(args::Command::Guard(guard)) => offline::guard(&args, guard),
        Some(args::Command::Revert(revert)) => offline::revert(&args, revert),
        Some(args::Command::Stress(stress)) => offline::stress(stress),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("observastack-injector: {error:#}");
            ExitCode::FAILURE
        }
    }
}
