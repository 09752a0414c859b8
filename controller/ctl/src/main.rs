//! The command line of ObservaStack: one file per verb in [`verbs`].
//!
//! Exit codes: 0 done, 1 it failed, 2 the request was wrong (usage, or a value out of range).
#![forbid(unsafe_code)]

mod args;
mod client;
mod collector;
mod failure;
mod output;
mod sut;
mod systemd;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error)
            if error.use_stderr() && std::env::args().any(|argument| argument == "--json") =>
        {
            let failure = failure::Failure::Usage(error.to_string().trim_end().to_owned());
            failure.print(true);
            return failure.exit_code();
        }
        // Help, the version, or a complaint in clap's own words, with its exit codes 0 and 2.
        Err(error) => error.exit(),
    };
    let json = args.json;
    match verbs::run(args) {
        Ok(code) => code,
        Err(failure) => {
            failure.print(json);
            failure.exit_code()
        }
    }
}
