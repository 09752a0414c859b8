//! The collector's process; see the library for what it does.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use observastack_collector::{run, settings::Args};
use observastack_telemetry::logs;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = logs::init("observastack-collector") {
        eprintln!("observastack-collector: {error}");
        return ExitCode::FAILURE;
    }
    let ran = args
        .validate()
        .map_err(anyhow::Error::from)
        .and_then(|settings| Ok(run::run(settings)?));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
