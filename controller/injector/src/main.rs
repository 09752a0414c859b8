//! The privileged service that carries out faults.
//!
//! A request goes [`api`] → [`observastack_spec`] (validation) → [`scope`] → [`engine`] → [`lowering`] → the loader's
//! maps; clearing is the same list backwards. One thread, the [`engine`]'s, owns everything that is loaded into the kernel.
#![forbid(unsafe_code)]

mod api;
mod args;
mod config;
mod engine;
mod instance;
mod lowering;
mod report;
mod run;
mod scope;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // clap itself exits with 2 on bad usage.
    let args = args::Args::parse();
    match run::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("observastack-injector: {error:#}");
            ExitCode::FAILURE
        }
    }
}
