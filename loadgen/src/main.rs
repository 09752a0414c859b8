//! `observastack-loadgen`: see the library for what it does.
//!
//! Exit codes: 0 done, 1 it failed or a threshold does not hold, 2 the request was wrong.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Args::parse().verb {
        cli::Verb::Run(run) => cli::run::main(&run),
        cli::Verb::Diff(diff) => cli::diff::main(&diff),
        cli::Verb::Shapes(shapes) => cli::shapes::main(&shapes),
        cli::Verb::Schema(schema) => cli::schema::main(&schema),
        cli::Verb::Completions(completions) => cli::completions::main(&completions),
        cli::Verb::Man(man) => cli::man::main(&man),
        cli::Verb::Serve(serve) => cli::serve::main(&serve),
    }
}
