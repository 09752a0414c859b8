//! `trace`: one trace as a waterfall, with what was logged during it.

pub(super) mod waterfall;

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::logs;
use crate::{
    collector::{Collector, Query},
    failure::Failure,
    output,
};

/// Show one trace: who called whom, when, for how long, and what was logged during it.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Trace {
    /// Its id, 32 hexadecimal digits, as `traces`, logs and exemplars show it.
    id: String,
    /// Attributes and events of each span, too.
    #[arg(long, short)]
    verbose: bool,
}

/// Log records of one trace that are shown at most.
const RECORDS: usize = 200;

/// Records may be written a little before the span that they belong to: clocks of one machine, but different threads.
const BEFORE_US: u64 = 60_000_000;

/// Prints it.
pub(crate) async fn run(
    trace: &Trace,
    collector: &Collector,
    json: bool,
) -> Result<ExitCode, Failure> {
    let is_id = trace.id.len() == 32 && trace.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(Failure::Usage(format!(
            "`{}` is no trace id: 32 hexadecimal digits, as `observastack-ctl traces` lists them",
            trace.id
        )));
    }
    let path = format!("/api/traces/{}", trace.id.to_lowercase());
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
