//! The task that owns a run.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{Change, Load, NewRate, Phase, Service, State, Status, Window, Wish};
use crate::{
    engine::{Arrival, Command, Run},
    report::{About, Report, Series},
    schedule::Slope,
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
                Some(Wish::Change(change)) => {
                    command = changed(&load.plan.arrival, command, change, run.elapsed());
                    run.tell(command);
                    let mut state = service.lock();
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
                status.rate_is_set = command.rate.is_some();
                status.rate_goal = command.rate.map(|slope| slope.goal());
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

/// What is wanted after a change at a moment of the run: a ramp begins at the rate of that moment.
fn changed(arrival: &Arrival, command: Command, change: Change, at: Duration) -> Command {
    let rate = match change.rate {
        None => command.rate,
        Some(NewRate::Shape) => None,
        Some(NewRate::Set { per_second, over }) => {
            let unpaused = Command {
                is_paused: false,
                ..command
            };
            let from = asked(arrival, unpaused, at).unwrap_or(per_second);
            Some(Slope::new(at, from, per_second, over))
        }
    };
    Command {
        rate,
        is_paused: change.is_paused.unwrap_or(command.is_paused),
    }
}

fn asked(arrival: &Arrival, command: Command, at: Duration) -> Option<f64> {
    let Arrival::Open { profile, .. } = arrival else {
        return None;
    };
    if command.is_paused {
        return Some(0.0);
    }
    let set = command.rate.map(|slope| slope.rate_at(at));
    Some(set.unwrap_or_else(|| profile.rate_at(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Profile, Segment, Spacing};

    #[test]
    fn a_ramp_begins_where_the_rate_is() {
        let seconds = Duration::from_secs;
        let profile = Profile::new([Segment {
            length: seconds(100),
            from: 0.0,
            to: 100.0,
        }]);
        let arrival = Arrival::Open {
            profile,
            spacing: Spacing::Even,
        };
        let to = |per_second, over| Change {
            rate: Some(NewRate::Set { per_second, over }),
            is_paused: None,
        };
        let rate = |command, at| asked(&arrival, command, seconds(at)).unwrap();
        // From the shape's own rate.
        let up = changed(
            &arrival,
            Command::default(),
            to(120.0, seconds(10)),
            seconds(20),
        );
        assert_eq!(
            [20, 25, 30, 40].map(|at| rate(up, at)),
            [20.0, 70.0, 120.0, 120.0]
        );
        // From the middle of a ramp, also of one that is paused.
        let pause = Change {
            is_paused: Some(true),
            ..Change::default()
        };
        let paused = changed(&arrival, up, pause, seconds(25));
        assert_eq!((rate(paused, 25), paused.rate), (0.0, up.rate));
        let down = changed(&arrival, paused, to(0.0, seconds(7)), seconds(25));
        assert!(down.is_paused);
        let down = Command {
            is_paused: false,
            ..down
        };
        assert_eq!([25, 26, 32].map(|at| rate(down, at)), [70.0, 60.0, 0.0]);
        // And back.
        let shape = Change {
            rate: Some(NewRate::Shape),
            ..Change::default()
        };
        assert_eq!(rate(changed(&arrival, down, shape, seconds(60)), 60), 60.0);
    }
}
