//! Health: what makes a service alive (else it is restarted), and what makes it ready (else it gets no traffic).
//!
//! A part of the service holds an [`Indicator`] and says how it is whenever that changes; asking is then cheap and
//! never waits for a database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The health of one service. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    draining: bool,
    checks: BTreeMap<&'static str, Check>,
}

#[derive(Debug)]
struct Check {
    kind: Kind,
    /// Why it is down.
    down: Option<String>,
    /// When the last beat was, and how old it may be.
    beat: Option<(Instant, Duration)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Liveness,
    Readiness,
}

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// `ok`, or `unavailable` with at least one reason.
    pub status: Status,
    /// Everything that is wrong.
    pub reasons: Vec<Reason>,
}

/// The sum of a [`Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is wrong.
    Ok,
    /// Something is.
    Unavailable,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The check's name, e.g. `database`.
    pub check: String,
    /// What is wrong, for a person.
    pub reason: String,
}

impl Report {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }
}

/// One part's say in the service's health.
#[derive(Clone, Debug)]
pub struct Indicator {
    health: Health,
    name: &'static str,
}

/// A part that has to give signs of life, or the whole service counts as dead.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    health: Health,
    name: &'static str,
}

impl Health {
    /// A service with no checks: alive and ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A check without which the service gets no traffic; down ("starting") until the first report.
    #[must_use]
    pub fn readiness(&self, name: &'static str) -> Indicator {
        self.add(
            name,
            Check {
                kind: Kind::Readiness,
                down: Some("starting".to_owned()),
                beat: None,
            },
        );
        Indicator {
            health: self.clone(),
            name,
        }
    }

    /// A check without which the service must be restarted; up until reported down.
    #[must_use]
    pub fn liveness(&self, name: &'static str) -> Indicator {
        self.add(
            name,
            Check {
                kind: Kind::Liveness,
                down: None,
                beat: None,
            },
        );
        Indicator {
            health: self.clone(),
            name,
        }
    }

    /// A loop that must beat at least every `max_age`, or the service is no longer alive.
    #[must_use]
    pub fn heartbeat(&self, name: &'static str, max_age: Duration) -> Heartbeat {
        self.add(
            name,
            Check {
                kind: Kind::Liveness,
                down: None,
                beat: Some((Instant::now(), max_age)),
            },
        );
        Heartbeat {
            health: self.clone(),
            name,
        }
    }

    /// The service has begun to stop: no longer ready, for good.
    pub fn set_draining(&self) {
        self.state().draining = true;
    }

    /// Is the process still of use, or must it be restarted? For the watchdog and `/livez`.
    #[must_use]
    pub fn is_alive(&self) -> Report {
        let state = self.state();
        report(reasons(&state, |kind| kind == Kind::Liveness))
    }

    /// May it get traffic? For `/healthz`: alive, every readiness check up, and not draining.
    #[must_use]
    pub fn is_ready(&self) -> Report {
        let state = self.state();
        let mut reasons = reasons(&state, |_| true);
        if state.draining {
            let reason = "the service is stopping".to_owned();
            reasons.push(Reason {
                check: "draining".to_owned(),
                reason,
            });
        }
        report(reasons)
    }

    fn add(&self, name: &'static str, check: Check) {
        self.state().checks.insert(name, check);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Indicator {
    /// The part is well.
    pub fn up(&self) {
        self.set(None);
    }

    /// The part is not well; `reason` is shown to whoever probes.
    pub fn down(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, down: Option<String>) {
        let changed = {
            let mut state = self.health.state();
            let Some(check) = state.checks.get_mut(self.name) else {
                return;
            };
            let changed = check.down.is_some() != down.is_some();
            check.down.clone_from(&down);
            changed
        };
        match down {
            Some(reason) if changed => {
                tracing::warn!(check = self.name, reason, "a health check failed")
            }
            None if changed => tracing::info!(check = self.name, "a health check passes"),
            _ => {}
        }
    }
}

impl Heartbeat {
    /// A sign of life.
    pub fn beat(&self) {
        if let Some(Check {
            beat: Some((last, _)),
            ..
        }) = self.health.state().checks.get_mut(self.name)
        {
            *last = Instant::now();
        }
    }
}

fn reasons(state: &State, wanted: impl Fn(Kind) -> bool) -> Vec<Reason> {
    let reason = |(name, check): (&&'static str, &Check)| {
        let late = check
            .beat
            .filter(|(last, max_age)| last.elapsed() > *max_age)
            .map(|(last, max_age)| {
                format!(
                    "no sign of life for {} ms, allowed: {} ms",
                    last.elapsed().as_millis(),
                    max_age.as_millis()
                )
            });
        let reason = check.down.clone().or(late)?;
        Some(Reason {
            check: (*name).to_owned(),
            reason,
        })
    };
    state
        .checks
        .iter()
        .filter(|(_, check)| wanted(check.kind))
        .filter_map(reason)
        .collect()
}

fn report(reasons: Vec<Reason>) -> Report {
    let status = if reasons.is_empty() {
        Status::Ok
    } else {
        Status::Unavailable
    };
    Report { status, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(report: &Report) -> Vec<&str> {
        assert_eq!(report.is_ok(), report.reasons.is_empty());
        report
            .reasons
            .iter()
            .map(|reason| reason.check.as_str())
            .collect()
    }

    #[test]
    fn readiness_keeps_traffic_away_and_liveness_asks_for_a_restart() {
        let health = Health::new();
        assert!(health.is_alive().is_ok() && health.is_ready().is_ok());
        let (database, worker) = (health.readiness("database"), health.liveness("worker"));
        assert_eq!(
            checks(&health.is_ready()),
            ["database"],
            "not ready before the first report"
        );
        database.up();
        assert!(health.is_ready().is_ok());
        database.down("connection refused");
        assert!(health.is_alive().is_ok());
        worker.down("stuck");
        assert_eq!(checks(&health.is_alive()), ["worker"]);
        assert_eq!(checks(&health.is_ready()), ["database", "worker"]);
    }

    #[test]
    fn a_draining_service_is_alive_but_never_ready_again() {
        let health = Health::new();
        let database = health.readiness("database");
        health.set_draining();
        database.up();
        assert_eq!(checks(&health.is_ready()), ["draining"]);
        assert!(health.is_alive().is_ok());
    }

    #[test]
    fn a_loop_that_stops_beating_is_dead_until_it_beats_again() {
        let health = Health::new();
        let stopped = health.heartbeat("stopped", Duration::ZERO);
        let beating = health.heartbeat("beating", Duration::from_secs(3600));
        beating.beat();
        stopped.beat();
        // The clock has to move for a beat of no age to be too old.
        let start = Instant::now();
        while start.elapsed().is_zero() {
            std::hint::spin_loop();
        }
        let report = health.is_alive();
        assert_eq!(checks(&report), ["stopped"]);
        assert!(
            report.reasons[0].reason.contains("allowed: 0 ms"),
            "{report:?}"
        );
    }
}
