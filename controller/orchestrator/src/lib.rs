//! Runs drills: from the brief to the debrief, and back to the baseline whatever happens.
//!
//! ```text
//! command, time ──> runner ──events──> Life (spec, pure) ──effects──> runner ──> Lab
//!                      └── every change ──> store (SQLite), before anything is done that has to be taken back
//! ```
//!
//! - [`api`]: HTTP for whoever drives it; [`engine`]: the one thread that owns the runner;
//! - [`lab`]: what a run needs of the lab, as a trait: the runner knows no sockets; [`real`]: the lab as it is;
//! - [`runner`]: one run at a time, in slices of bounded length;
//! - [`store`]: runs, what happened in them, and what is to be taken back; outlives the process.
//! - [`library`]: the scenarios that are there; [`run`]: the composition root.
#![forbid(unsafe_code)]

pub mod api;
mod args;
pub mod engine;
#[cfg(test)]
mod fake;
pub mod lab;
pub mod library;
pub mod real;
mod run;
pub mod runner;
pub mod store;

use std::process::ExitCode;

use clap::Parser as _;

/// The program; exit 2 for usage, 1 for failure.
#[must_use]
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    match run::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("observastack-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}
