//! A run while it goes: lines for people, numbers for Prometheus, and its end.

use std::{io::IsTerminal as _, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use observastack_loadgen::{
    engine::{self, Arrival, Plan},
    metrics::Exposed,
    report::{self, Moment, Progress, Series},
    stats::Stats,
};
use tokio::signal::unix::{SignalKind, signal};

/// How often a line is printed: on a terminal, and elsewhere.
const LINES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often what was measured is taken from the workers.
const LOOKS: Duration = Duration::from_millis(100);

/// What came of a run.
pub(super) struct Measured {
    pub(super) stats: Stats,
    pub(super) elapsed: Duration,
    pub(super) series: Vec<Moment>,
}

/// Runs the plan; Ctrl-C ends it early, and what was measured by then is the result.
pub(super) async fn watch(
    plan: &Plan,
    quiet: bool,
    metrics: Option<SocketAddr>,
) -> Result<Measured> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let exposed = Exposed::new(&plan.workload);
    if let Some(address) = metrics {
        exposed
            .serve(address)
            .await
            .with_context(|| format!("--metrics {address}: cannot listen there"))?;
    }
    let run = engine::Run::start(plan).context("cannot start")?;
    let length = plan.arrival.length();
    let rate = |at: Duration| match &plan.arrival {
        Arrival::Open { profile, .. } => Some(profile.rate_at(at)),
        Arrival::Closed { .. } => None,
    };
    let is_terminal = std::io::stderr().is_terminal();
    let mut lines = tokio::time::interval(if is_terminal { LINES.0 } else { LINES.1 });
    let mut looks = tokio::time::interval(LOOKS);
    let mut ends = tokio::time::interval(Duration::from_millis(10));
    // The first comes at once, and there is nothing to be told yet.
    lines.tick().await;
    let mut lately = Stats::default();
    let mut since = Duration::ZERO;
    let mut series = Series::new(length);
    while !run.is_over() {
        tokio::select! {
            _ = ends.tick() => {}
            _ = looks.tick() => {
                let elapsed = run.elapsed();
                run.take(|new| {
                    exposed.add(new);
                    lately.add_briefly(new);
                    series.add(new);
                });
                series.go_on(elapsed, rate);
            }
            _ = lines.tick(), if !quiet => {
                let elapsed = run.elapsed();
                let progress = Progress {
                    elapsed,
                    length,
                    rate: rate(elapsed),
                    width: is_terminal.then(width),
                };
                let line = exposed
                    .with_stats(|all| report::line(&lately, elapsed - since, all, &progress));
                if is_terminal {
                    eprint!("\r{line}\x1b[K");
                } else {
                    eprintln!("{line}");
                }
                lately.clear();
                since = elapsed;
            }
            _ = interrupt.recv() => run.stop(),
            _ = terminate.recv() => run.stop(),
        }
    }
    if is_terminal && !quiet {
        eprintln!();
    }
    let elapsed = run.elapsed();
    run.finish(|new| {
        exposed.add(new);
        series.add(new);
    })
    .context("a worker failed")?;
    Ok(Measured {
        stats: exposed.with_stats(Stats::clone),
        elapsed,
        series: series.finish(elapsed, rate),
    })
}

/// The terminal's width in characters.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col))
}
