//! `traces`: find them.

use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::{logs, trace::waterfall};
use crate::{
    collector::{Between, Collector, Query, short},
    failure::Failure,
    output,
};

/// Find traces by what one of their spans is: its service, operation, duration, status, attributes.
#[derive(Debug, Args)]
pub(crate) struct Traces {
    /// A span of this service, such as observastack-api.
    #[arg(long)]
    service: Option<String>,
    /// With this name.
    #[arg(long)]
    operation: Option<String>,
    /// That took this long or longer, such as 250ms.
    #[arg(long, value_name = "DURATION")]
    min_duration: Option<String>,
    /// That took this long or less.
    #[arg(long, value_name = "DURATION")]
    max_duration: Option<String>,
    /// That ended so: unset, ok, error.
    #[arg(long)]
    status: Option<String>,
    /// With this attribute, such as http.response.status_code=503; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    attribute: Vec<String>,
    #[command(flatten)]
    between: Between,
    /// The newest so many.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, Deserialize)]
struct Summary {
    trace_id: String,
    service: String,
    operation: String,
    start_us: u64,
    duration_ns: u64,
    spans: usize,
    errors: usize,
}

/// Prints them, the newest first.
pub(crate) async fn run(
    traces: &Traces,
    collector: &Collector,
    json: bool,
) -> Result<ExitCode, Failure> {
    if traces.limit == 0 {
        return Err(Failure::Usage("--limit 0: use 1 or more".to_owned()));
    }
    let query = traces.attribute.iter().fold(
        Query::default()
            .with("service", traces.service.as_ref())
            .with("operation", traces.operation.as_ref())
            .with("min_duration", traces.min_duration.as_ref())
            .with("max_duration", traces.max_duration.as_ref())
            .with("status", traces.status.as_ref())
            .between(&traces.between),
        |query, attribute| query.with("attribute", Some(attribute)),
    );
    let found = collector
        .search("/api/traces", query, "traces", traces.limit)
        .await?;
    if json {
        output::json(&json!({ "traces": found }));
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        output::line("no traces");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = found
        .iter()
        .filter_map(|found| Summary::deserialize(found).ok())
        .map(row)
        .collect();
    let header = [
        "TRACE",
        "BEGAN",
        "TOOK",
        "SPANS",
        "ERRORS",
        "SERVICE",
        "OPERATION",
    ];
    output::line(output::table(&header, &rows));
    Ok(ExitCode::SUCCESS)
}

fn row(summary: Summary) -> Vec<String> {
    vec![
        summary.trace_id,
        logs::time(summary.start_us),
        waterfall::took(summary.duration_ns),
        summary.spans.to_string(),
        summary.errors.to_string(),
        short(&summary.service).to_owned(),
        summary.operation,
    ]
}
