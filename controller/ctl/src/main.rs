//! The command line of ObservaStack: one file per verb in [`verbs`].
//!
//! Exit codes: 0 done, 1 it failed, 2 the request was wrong (usage, or a value out of range).
#![forbid(unsafe_code)]

mod args;
mod client;
mod failure;
mod output;
mod sut;
mod systemd;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let json = args.json;
    match verbs::run(args) {
        Ok(code) => code,
        Err(failure) => {
            failure.print(json);
            failure.exit_code()
        }
    }
}
