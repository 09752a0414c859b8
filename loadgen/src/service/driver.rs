//! The task that owns a run.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Load, Phase, Service, State, Status, Window, Wish};
use crate::{
    engine::{Arrival, Command, Run},
    report::{About, Report, Series},
    stats::Stats,
};

/// How often what was measured is taken from the workers.
const LOOKS: Duration = Duration::from_millis(100);
/// How many looks make a line of statistics.
const LOOKS_OF_A_LINE: u32 = 2;
/// Wishes that may wait.
const WISHES: usize = 16;

/// Begins a load. The caller has seen that there is none.
pub(super) fn begin(service: &Service, state: &mut State, load: Load) -> std::io::Result<()> {
    service.exposed.begin(&load.plan.workload);
    let run = Run::start(&load.plan)?;
    let (driver, wishes) = mpsc::channel(WISHES);
    *state = State {
        status: Status {
            phase: Phase::Running,
            name: load.shape.name.clone(),
            target: Some(load.shape.target.to_string()),
            rate: asked(&load.plan.arrival, Command::default(), Duration::ZERO),
            length_s: load.plan.arrival.length().as_secs_f64(),
            ..Status::default()
        },
        command: Command::default(),
        driver: Some(driver),
        report: None,
        thresholds: load.shape.thresholds.clone(),
        window: Window::default(),
    };
    tokio::spawn(drive(service.clone(), load, run, wishes));
    Ok(())
}

async fn drive(service: Service, load: Load, run: Run, mut wishes: mpsc::Receiver<Wish>) {
    tracing::info!(
        name = load.shape.name.as_deref().unwrap_or_default(),
        target = %load.shape.target,
        "load begins"
    );
    let mut command = Command::default();
    let mut looks = tokio::time::interval(LOOKS);
    let mut looked: u32 = 0;
    let mut series = Series::new(load.plan.arrival.length());
    let mut lately = Series::with_interval(LOOKS * LOOKS_OF_A_LINE);
    while !run.is_over() {
        tokio::select! {
            wish = wishes.recv() => match wish {
                Some(Wish::Change(wanted)) => {
                    command = wanted;
                    run.tell(command);
                    let mut state = service.lock();
                    state.command = command;
                    if state.status.phase != Phase::Stopping {
                        state.status.phase = if command.is_paused { Phase::Paused } else { Phase::Running };
                    }
                }
                // Nobody else has the sender.
                Some(Wish::Stop) | None => {
                    run.stop();
                    service.lock().status.phase = Phase::Stopping;
                }
            },
            _ = looks.tick() => {
                looked += 1;
                let elapsed = run.elapsed();
                let rate = |at| asked(&load.plan.arrival, command, at);
                let mut new_ones = Stats::new(0, 0);
                run.take(|new| {
                    service.exposed.add(new);
                    series.add(new);
                    lately.add(new);
                    new_ones.add_briefly(new);
                });
                series.go_on(elapsed, rate);
                lately.go_on(elapsed, rate);
                service.exposed.asked(rate(elapsed));
                if looked.is_multiple_of(LOOKS_OF_A_LINE)
                    && let Some(moment) = lately.take()
                {
                    // An error means that nobody listens.
                    let _ = service.statistics.send(Arc::new(moment));
                }
                let mut state = service.lock();
                state.window.add(elapsed, &new_ones);
                let status = &mut state.status;
                status.elapsed_s = elapsed.as_secs_f64();
                status.rate = rate(elapsed);
                status.rate_is_set = command.per_second.is_some();
                service.exposed.with_stats(|all| count(status, all));
            }
        }
    }
    let elapsed = run.elapsed();
    let rate = |at| asked(&load.plan.arrival, command, at);
    // The workers have ended: nothing is waited for.
    let finished = run.finish(|new| {
        service.exposed.add(new);
        series.add(new);
    });
    service.exposed.end();
    let all = service.exposed.with_stats(Stats::clone);
    let mut state = service.lock();
    let verdicts = state
        .thresholds
        .iter()
        .map(|threshold| threshold.judge(&all, elapsed))
        .collect();
    let target = load.shape.target.to_string();
    let about = About {
        name: load.shape.name.as_deref(),
        target: &target,
        workload: &load.plan.workload,
    };
    let moments = series.finish(elapsed, rate);
    let report = Report::new(&about, elapsed, &all, moments, verdicts);
    tracing::info!(
        due = report.due,
        answered = report.answered,
        elapsed_s = report.elapsed_s,
        "load is over"
    );
    state.status.phase = Phase::Over;
    state.status.failure = finished.err().map(|error| error.to_string());
    state.status.elapsed_s = elapsed.as_secs_f64();
    state.status.rate = None;
    count(&mut state.status, &all);
    state.report = Some(Arc::new(report));
    state.driver = None;
}

fn count(status: &mut Status, all: &Stats) {
    status.due = all.due;
    status.answered = all.answered();
    status.errors = all.failed();
    status.statuses.clone_from(&all.statuses);
}

fn asked(arrival: &Arrival, command: Command, at: Duration) -> Option<f64> {
    let Arrival::Open { profile, .. } = arrival else {
        return None;
    };
    if command.is_paused {
        return Some(0.0);
    }
    Some(command.per_second.unwrap_or_else(|| profile.rate_at(at)))
}
