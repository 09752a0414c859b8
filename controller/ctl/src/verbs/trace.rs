//! `trace`: one trace as a waterfall, with what was logged during it; or what a unit does in the kernel, as it does it.

pub(super) mod live;
pub(super) mod waterfall;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use observastack_spec::kernel::Traceable;
use serde::Deserialize;
use serde_json::{Value, json};

use super::logs;
use crate::{
    client::Client,
    collector::{Collector, Query},
    failure::Failure,
    output,
};

/// Show one trace: who called whom, when, for how long, and what was logged during it. Or what a unit does in the kernel, live.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Trace {
    #[command(subcommand)]
    what: Option<What>,
    /// Its id, 32 hexadecimal digits, as `traces`, logs and exemplars show it.
    #[arg(required = true)]
    id: Option<String>,
    /// Attributes and events of each span, too.
    #[arg(long, short)]
    verbose: bool,
}

/// What can be watched.
#[derive(Debug, Subcommand)]
enum What {
    /// A unit's system calls: arguments, result, how long they took.
    Syscalls(live::Live),
    /// A unit's TCP sockets: states, segments sent again, resets.
    Tcp(live::Live),
    /// A unit's tasks on the CPUs: how long each ran, and had waited before.
    Sched(live::Live),
}

/// Log records of one trace that are shown at most.
const RECORDS: usize = 200;

/// Records may be written a little before the span that they belong to: clocks of one machine, but different threads.
const BEFORE_US: u64 = 60_000_000;

/// Prints it.
pub(crate) async fn run(
    trace: &Trace,
    collector: &Collector,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    match &trace.what {
        Some(What::Syscalls(live)) => live::run(live, Traceable::Syscalls, observer, json).await,
        Some(What::Tcp(live)) => live::run(live, Traceable::Tcp, observer, json).await,
        Some(What::Sched(live)) => live::run(live, Traceable::Sched, observer, json).await,
        None => show(trace, collector, json).await,
    }
}

async fn show(trace: &Trace, collector: &Collector, json: bool) -> Result<ExitCode, Failure> {
    let id = trace.id.as_deref().unwrap_or_default();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(Failure::Usage(format!(
            "`{id}` is no trace id: 32 hexadecimal digits, as `observastack-ctl traces` lists them"
        )));
    }
    let path = format!("/api/traces/{}", id.to_lowercase());
    let mut whole: Value = collector.ask(&path, &Query::default()).await?;
    let shown: waterfall::Trace = waterfall::Trace::deserialize(&whole)
        .map_err(|error| Failure::Collector(format!("cannot read the trace: {error}")))?;
    let query = Query::default()
        .with("trace_id", Some(&shown.trace_id))
        .with("from", Some(shown.began_us().saturating_sub(BEFORE_US)));
    let mut records = collector
        .search("/api/logs", query, "logs", RECORDS)
        .await?;
    records.reverse();
    if json {
        whole["logs"] = json!(records);
        output::json(&whole);
        return Ok(ExitCode::SUCCESS);
    }
    output::line(waterfall::text(&shown, trace.verbose));
    let lines: Vec<String> = records
        .iter()
        .filter_map(|record| logs::Record::deserialize(record).ok())
        .map(|record| logs::text(&record.without_trace()))
        .collect();
    if !lines.is_empty() {
        output::line(format!("\n{}", lines.join("\n")));
    }
    Ok(ExitCode::SUCCESS)
}
