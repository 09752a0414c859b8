//! `run`: load on one target.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use http::{HeaderName, HeaderValue, Method, Uri};
use observastack_loadgen::{
    engine::{self, Arrival, Plan},
    http::Template,
    report::{self, Report},
    schedule::{self, Profile, Segment, Spacing},
    stats::Stats,
    threshold::Threshold,
};

use super::target;

/// Send requests, measure the answers, and say what came of it.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Run {
    /// Where to, such as http://127.0.0.1:8000/products
    #[arg(value_parser = target::parse)]
    target: Uri,

    /// Open loop: so many requests a second, due whether the target keeps up or not
    #[arg(long, value_name = "RATE", requires = "length", conflicts_with_all = ["stage", "users"])]
    rate: Option<String>,
    /// Open loop in stages, one after the other: `RATE for TIME`, `RATE..RATE for TIME` (a ramp), `sine RATE..RATE every TIME for TIME`,
    /// `pause for TIME`
    #[arg(long, value_name = "STAGE", conflicts_with = "users")]
    stage: Vec<String>,
    /// Closed loop: so many users, each waits for its answer before it asks again
    #[arg(long, value_name = "N", requires = "length", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: Option<u32>,
    /// How long a user thinks before it asks again
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration, requires = "users")]
    think: Duration,
    /// For how long
    #[arg(long = "for", id = "length", value_name = "TIME", value_parser = humantime::parse_duration)]
    length: Option<Duration>,
    /// As independent clients come (a Poisson process), not evenly
    #[arg(long, conflicts_with = "users")]
    poisson: bool,
    /// Where chance decides: the same seed, the same times
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// The method
    #[arg(long, default_value = "GET")]
    method: Method,
    /// A header, such as `accept: application/json`; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The body; `@FILE` for a file's content
    #[arg(long)]
    body: Option<String>,
    /// Statuses that are as asked for; any below 400 where none is given
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(100..=599))]
    status: Vec<u16>,
    /// How long an answer may take from when the request is sent, and how long the request may wait for a connection before that
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,

    /// Connections at once; with --users, one for each where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: Option<u32>,
    /// A new connection for each request
    #[arg(long)]
    new_connections: bool,
    /// Threads; one takes tens of thousands of requests a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,

    /// A condition that decides the exit code, such as p99<250ms, errors<1%, rate>=500; may be given several times
    #[arg(long, value_name = "CONDITION")]
    threshold: Vec<String>,
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// No lines while it runs
    #[arg(long, short)]
    quiet: bool,
}

/// Connections of an open loop where nothing is said.
const CONNECTIONS: u32 = 256;
/// How often a line is printed: on a terminal, and elsewhere.
const LINES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

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
pub(crate) fn main(run: Run) -> ExitCode {
    let (arrival, thresholds) = match plan(&run) {
        Ok(planned) => planned,
        Err(message) => return super::usage(&message),
    };
    match execute(&run, arrival, &thresholds) {
        // Of a run that does not show the target, no condition on it is known to hold.
        Ok(report) if report.passed() && (thresholds.is_empty() || report.invalid.is_empty()) => {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => super::failed(&error),
    }
}

/// When requests are due, and what has to hold afterwards.
fn plan(run: &Run) -> Result<(Arrival, Vec<Threshold>), String> {
    let thresholds = run.threshold.iter().map(|text| Threshold::parse(text));
    let thresholds = thresholds
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if run.timeout.is_zero() {
        return Err("--timeout 0s: nothing is answered in no time".to_owned());
    }
    if let (Some(users), Some(length)) = (run.users, run.length) {
        if length.is_zero() {
            return Err("--for 0s: nothing would be sent".to_owned());
        }
        let arrival = Arrival::Closed {
            users: users as usize,
            think: run.think,
            length,
        };
        return Ok((arrival, thresholds));
    }
    let stages: Vec<String> = match (&run.rate, run.length) {
        (Some(rate), Some(length)) => {
            vec![format!("{rate} for {}", humantime::format_duration(length))]
        }
        _ => run.stage.clone(),
    };
    let mut segments: Vec<Segment> = Vec::new();
    for stage in &stages {
        segments.extend(schedule::parse(stage).map_err(|error| error.to_string())?);
    }
    let profile = Profile::new(segments);
    if profile.arrivals() < 1.0 {
        return Err(
            "nothing would be sent: give --rate and --for, --stage, or --users and --for"
                .to_owned(),
        );
    }
    let spacing = if run.poisson {
        Spacing::Poisson
    } else {
        Spacing::Even
    };
    let arrival = Arrival::Open {
        profile,
        spacing,
        seed: run.seed,
    };
    Ok((arrival, thresholds))
}

fn execute(run: &Run, arrival: Arrival, thresholds: &[Threshold]) -> Result<Report> {
    let body = match run.body.as_deref() {
        None => Vec::new(),
        Some(body) => match body.strip_prefix('@') {
            Some(file) => fs::read(file).with_context(|| format!("cannot read {file}"))?,
            None => body.as_bytes().to_vec(),
        },
    };
    let connections = match &arrival {
        Arrival::Closed { users, .. } => run.connections.map_or(*users, |most| most as usize),
        Arrival::Open { .. } => run.connections.unwrap_or(CONNECTIONS) as usize,
    };
    let keep_alive = !run.new_connections;
    let plan = Plan {
        address: target::reach(&run.target)?,
        request: Template::new(&run.method, &run.target, &run.header, &body, keep_alive),
        arrival,
        connections,
        keep_alive,
        timeout: run.timeout,
        statuses: run.status.clone(),
        // What would wait for longer than a time limit is not worth waiting for, and memory has a bound.
        backlog: 100_000,
        workers: (run.threads as usize).min(connections),
    };
    // Before the run: a report that cannot be written should not cost an hour of it.
    let file = match &run.report {
        None => None,
        Some(path) => {
            let file = fs::File::create(path);
            Some((
                path,
                file.with_context(|| format!("cannot write {}", path.display()))?,
            ))
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let (stats, elapsed) = runtime.block_on(watch(&plan, run.quiet))?;
    let verdicts = thresholds
        .iter()
        .map(|threshold| threshold.judge(&stats, elapsed))
        .collect();
    let report = Report::new(&run.target.to_string(), elapsed, &stats, verdicts);
    println!("{}", report::text(&report));
    if let Some((path, mut file)) = file {
        let text = serde_json::to_string_pretty(&report)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(report)
}

/// Runs the plan, with a line now and then; Ctrl-C ends it early, and what was measured by then is the result.
async fn watch(plan: &Plan, quiet: bool) -> Result<(Stats, Duration)> {
    let run = engine::Run::start(plan).context("cannot start")?;
    let is_terminal = std::io::stderr().is_terminal();
    let mut lines = tokio::time::interval(if is_terminal { LINES.0 } else { LINES.1 });
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // The first comes at once, and there is nothing to be told yet.
    lines.tick().await;
    while !run.is_over() {
        tokio::select! {
            _ = looks.tick() => {}
            _ = lines.tick(), if !quiet => {
                let rate = match &plan.arrival {
                    Arrival::Open { profile, .. } => Some(profile.rate_at(run.elapsed())),
                    Arrival::Closed { .. } => None,
                };
                let line = report::line(&run.stats(), run.elapsed(), plan.length(), rate);
                if is_terminal {
                    eprint!("\r{line}\x1b[K");
                } else {
                    eprintln!("{line}");
                }
            }
            _ = interrupt.recv() => run.stop(),
            _ = terminate.recv() => run.stop(),
        }
    }
    if is_terminal && !quiet {
        eprintln!();
    }
    let elapsed = run.elapsed();
    Ok((run.finish().context("a worker failed")?, elapsed))
}
