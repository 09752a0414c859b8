//! `clear`: end faults now.

use std::process::ExitCode;

use clap::Args;
use hyper::Method;
use observastack_spec::api::{FaultList, FaultStatus};

use super::faults;
use crate::{client::Client, failure::Failure, output};

/// End faults now.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Clear {
    /// Ids of faults, as `faults` lists them.
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    ids: Vec<u64>,
    /// Every fault.
    #[arg(long)]
    all: bool,
}

/// Clears and prints the last counts. One id that does not exist does not keep the others from being cleared.
pub(crate) async fn run(clear: &Clear, injector: &Client, json: bool) -> Result<ExitCode, Failure> {
    let mut cleared = FaultList::default();
    let mut failed = None;
    if clear.all {
        cleared = injector.ask(Method::DELETE, "/faults", None::<&()>).await?;
    }
    for id in &clear.ids {
        match injector
            .ask::<FaultStatus>(Method::DELETE, &format!("/faults/{id}"), None::<&()>)
            .await
        {
            Ok(status) => cleared.faults.push(status),
            Err(failure) => failed = Some(failure),
        }
    }
    if json {
        output::json(&cleared);
    } else if !cleared.faults.is_empty() {
        output::line(faults::table(&cleared.faults));
    } else if failed.is_none() {
        output::line("no faults were active");
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}
