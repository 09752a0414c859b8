//! `run`: load on one target.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};
use observastack_loadgen::{
    engine::Plan,
    report::{self, About, Report},
    target,
};

use super::{
    outputs::Outputs,
    plan::{self, Planned},
    watch,
};

/// Send requests, measure the answers, and say what came of it.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Run {
    /// Where to, such as http://127.0.0.1:8000/products; with --file instead of the file's own target
    #[arg(value_parser = target::parse, required_unless_present = "file")]
    pub(super) target: Option<Uri>,

    /// What to do, from a shape file, or a shape of the library by its name (see `shapes`)
    #[arg(long, short, value_name = "SHAPE", conflicts_with_all = [
        "rate", "stage", "replay", "users", "length", "poisson", "method", "header", "body", "status", "timeout", "new_connections"
    ])]
    pub(super) file: Option<PathBuf>,

    /// Open loop: so many requests a second, due whether the target keeps up or not
    #[arg(long, value_name = "RATE", requires = "length", conflicts_with_all = ["stage", "users"])]
    pub(super) rate: Option<String>,
    /// Open loop in stages, one after the other: `RATE for TIME`, `RATE..RATE for TIME` (a ramp), `sine RATE..RATE every TIME for TIME`,
    /// `steps RATE..RATE by RATE for TIME`, `spike RATE..RATE for TIME`, `pause for TIME`
    #[arg(long, value_name = "STAGE", conflicts_with = "users")]
    pub(super) stage: Vec<String>,
    /// Open loop with a recorded rate: a file with lines of `at_s,rate`, such as the one that --csv writes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rate", "stage", "users"])]
    pub(super) replay: Option<PathBuf>,
    /// Closed loop: so many users, each waits for its answer before it asks again
    #[arg(long, value_name = "N", requires = "length", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) users: Option<u32>,
    /// How long a user thinks before it asks again
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration, requires = "users")]
    pub(super) think: Duration,
    /// For how long
    #[arg(long = "for", id = "length", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) length: Option<Duration>,
    /// As independent clients come (a Poisson process), not evenly
    #[arg(long, conflicts_with = "users")]
    pub(super) poisson: bool,
    /// Where chance decides: the same seed, the same requests at the same planned times [default: 1, or the file's]
    #[arg(long)]
    pub(super) seed: Option<u64>,

    /// The method
    #[arg(long, default_value = "GET")]
    pub(super) method: Method,
    /// A header, such as `accept: application/json`; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(super) header: Vec<(HeaderName, HeaderValue)>,
    /// The body; `@FILE` for a file's content
    #[arg(long)]
    pub(super) body: Option<String>,
    /// Statuses that are as asked for; any below 400 where none is given
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(100..=599))]
    pub(super) status: Vec<u16>,
    /// How long an answer may take from when the request is sent, and how long the request may wait for a connection before that
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,

    /// Connections at once; with --users, one for each where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) connections: Option<u32>,
    /// A new connection for each request
    #[arg(long)]
    pub(super) new_connections: bool,
    /// Threads; one takes tens of thousands of requests a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(super) threads: u32,

    /// A condition that decides the exit code, such as p99<250ms, errors<1%, rate>=500; may be given several times
    #[arg(long, value_name = "CONDITION")]
    pub(super) threshold: Vec<String>,
    /// Write the report as JSON to this file, too (`schema` prints its schema)
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Write the time series as CSV to this file
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,
    /// Write the report as one page of HTML to this file
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Serve what is measured to Prometheus while it runs, at this address, such as 127.0.0.1:8306
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics: Option<std::net::SocketAddr>,
    /// No lines while it runs
    #[arg(long, short)]
    pub(super) quiet: bool,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let allowed = "expected: `NAME: VALUE`, such as `accept: application/json`";
    let (name, value) = text.split_once(':').ok_or(allowed)?;
    let name = name.trim().parse();
    let value = HeaderValue::from_str(value.trim());
    match (name, value) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(allowed.to_owned()),
    }
}

/// Runs it and prints the report.
pub(crate) fn main(run: &Run) -> ExitCode {
    let planned = match plan::plan(run) {
        Ok(planned) => planned,
        Err(message) => return super::usage(&message),
    };
    match execute(run, &planned) {
        // Of a run that does not show the target, no condition on it is known to hold.
        Ok(report)
            if report.passed() && (planned.thresholds.is_empty() || report.invalid.is_empty()) =>
        {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => super::failed(&error),
    }
}

fn execute(run: &Run, planned: &Planned) -> Result<Report> {
    let plan = Plan {
        address: target::reach(&planned.target)?,
        workload: planned.workload.clone(),
        arrival: planned.arrival.clone(),
        connections: planned.connections,
        workers: run.threads as usize,
    };
    // Before the run: what cannot be written should not cost an hour of it.
    let outputs = Outputs::open([&run.report, &run.csv, &run.html])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let measured = runtime.block_on(watch::watch(&plan, run.quiet, run.metrics))?;
    let verdicts = planned
        .thresholds
        .iter()
        .map(|threshold| threshold.judge(&measured.stats, measured.elapsed))
        .collect();
    let target = planned.target.to_string();
    let about = About {
        name: planned.name.as_deref(),
        target: &target,
        workload: &plan.workload,
    };
    let report = Report::new(
        &about,
        measured.elapsed,
        &measured.stats,
        measured.series,
        verdicts,
    );
    println!("{}", report::text(&report));
    let json = serde_json::to_string_pretty(&report).context("cannot encode the report")?;
    outputs.write([json, report::csv(&report.series), report::html(&report)])?;
    Ok(report)
}
