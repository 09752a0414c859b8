//! What a run is worth: points, each with its reason, from what happened.

use serde::{Deserialize, Serialize};

use super::{
    life::{Life, Outcome},
    log::{Entry, Happened},
};
use crate::scenario::{
    Scenario,
    answer::{POINTS, Points, grade},
    sealed::Shortcut,
};

/// Points of each part; a hundred together.
const MITIGATION: f64 = 45.0;
const DIAGNOSIS: f64 = 35.0;
const SPEED: f64 = 10.0;
const IMPACT: f64 = 10.0;

/// What each unit costs that was touched and had nothing to do with it, and all of them at most.
const COLLATERAL: f64 = 4.0;
const MOST_COLLATERAL: f64 = 12.0;

/// A diagnosis of fewer points than this is not one.
const ENOUGH: u32 = 60;

/// The share of requests that has to be answered without an error, as the shop's objective has it (observability/prometheus/rules/slo.yml).
const OBJECTIVE: f64 = 0.995;

/// What users went through, as the load generator has it, since the break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// Requests that were due.
    pub due: u64,
    /// Those that failed or were never answered.
    pub failed: u64,
    /// Those that were answered too late for their users.
    pub slow: u64,
}

impl Impact {
    /// What came after an earlier count; a load that was begun anew in between counts from its own beginning.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        if earlier.due > self.due {
            return self;
        }
        Self {
            due: self.due - earlier.due,
            failed: self.failed.saturating_sub(earlier.failed),
            slow: self.slow.saturating_sub(earlier.slow),
        }
    }

    /// How many times the error budget of these requests was burnt: 1 where as many failed as the objective lets fail.
    #[must_use]
    pub fn budget_burnt(&self) -> f64 {
        if self.due == 0 {
            return 0.0;
        }
        let burnt = self.failed as f64 / self.due as f64 / (1.0 - OBJECTIVE);
        (burnt * 100.0).round() / 100.0
    }

    /// Which share of the requests was bad.
    #[must_use]
    pub fn bad(&self) -> f64 {
        if self.due == 0 {
            return 0.0;
        }
        let bad = self.failed.saturating_add(self.slow).min(self.due);
        bad as f64 / self.due as f64
    }
}

/// Whether a learner could have looked into the sealed parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Root on a lab of one's own: the score is advice.
    Open,
    /// The learner's rights only.
    Assessed,
}

/// Whether a run was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Repaired, and for the right reason.
    Pass,
    /// Not.
    Fail,
    /// The learner's time was up.
    Timeout,
    /// The lab could not do its part.
    LabError,
}

impl Verdict {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Timeout => "timeout",
            Self::LabError => "lab-error",
        }
    }
}

/// One part of a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Points, negative where they are taken away.
    pub points: f64,
    /// Of how many.
    pub of: f64,
    /// Why, in words.
    pub why: String,
}

/// What a run is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Whether it was passed.
    pub verdict: Verdict,
    /// All points, 0 to 100.
    pub total: f64,
    /// Where they come from.
    pub parts: Vec<Part>,
    /// What the diagnosis earned, of [`POINTS`].
    pub diagnosis: Points,
    /// From the break to the first diagnosis with the right component, in milliseconds.
    pub detect_ms: Option<u64>,
    /// To the last diagnosis.
    pub diagnose_ms: Option<u64>,
    /// To the moment since when what shows a repair held.
    pub repair_ms: Option<u64>,
    /// Hints that were taken.
    pub hints: u32,
    /// Commands that were used.
    pub commands: u32,
    /// What users went through; nothing where it is not known.
    pub impact: Option<Impact>,
    /// Units that were touched and had nothing to do with it.
    pub collateral: Vec<String>,
    /// Shortcuts that make the repair void.
    pub shortcuts: Vec<Shortcut>,
    /// Whether the score is more than advice.
    pub mode: Mode,
}

/// The score of a run that has ended.
#[must_use]
pub fn score(
    scenario: &Scenario,
    life: &Life,
    entries: &[Entry],
    impact: Option<Impact>,
    mode: Mode,
) -> Score {
    let sealed = &scenario.sealed;
    let since = |at_ms: u64| {
        let broken = life.moments.broken?;
        Some(at_ms.saturating_sub(broken))
    };
    let diagnoses: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            Happened::Diagnosed { diagnosis } => Some((entry.at_ms, diagnosis)),
            _ => None,
        })
        .collect();
    let detected = diagnoses
        .iter()
        .find(|(_, said)| said.component == sealed.answer.component);
    let none = Points {
        component: 0,
        mechanism: 0,
        cause: 0,
        evidence: 0,
    };
    let diagnosis = diagnoses.last().map_or(none, |(_, said)| {
        grade(&sealed.answer, said, scenario.brief.kernel)
    });
    let mut shortcuts: Vec<Shortcut> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            Happened::Shortcut { shortcut, .. } => Some(*shortcut),
            _ => None,
        })
        .filter(|shortcut| !sealed.allowed.contains(shortcut))
        .collect();
    shortcuts.sort_unstable();
    shortcuts.dedup();
    let is_repaired = life.outcome == Some(Outcome::Repaired) && shortcuts.is_empty();
    let repair_ms = life
        .moments
        .holds_since
        .filter(|_| is_repaired)
        .and_then(since);
    let collateral = collateral(scenario, entries);
    let costs: Vec<f64> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            Happened::Hint { cost, .. } => Some(*cost),
            _ => None,
        })
        .collect();
    let commands = entries
        .iter()
        .filter(|entry| matches!(entry.what, Happened::Command { .. }))
        .count();
    let limit_ms = u64::from(scenario.brief.minutes.value) * 60_000;
    let mut parts = vec![
        mitigation(is_repaired, life, &shortcuts),
        Part {
            name: "diagnosis".to_owned(),
            points: DIAGNOSIS * f64::from(diagnosis.total()) / f64::from(POINTS.total()),
            of: DIAGNOSIS,
            why: format!(
                "component {} of {}, mechanism {} of {}, cause {} of {}, evidence {} of {}",
                diagnosis.component,
                POINTS.component,
                diagnosis.mechanism,
                POINTS.mechanism,
                diagnosis.cause,
                POINTS.cause,
                diagnosis.evidence,
                POINTS.evidence
            ),
        },
        speed(repair_ms, limit_ms),
        users(is_repaired, impact),
    ];
    if !collateral.is_empty() {
        parts.push(Part {
            name: "collateral".to_owned(),
            points: -(COLLATERAL * collateral.len() as f64).min(MOST_COLLATERAL),
            of: 0.0,
            why: format!(
                "{} had nothing to do with it, and was touched",
                collateral.join(", ")
            ),
        });
    }
    let earned: f64 = parts.iter().map(|part| part.points).sum::<f64>().max(0.0);
    let cost = costs.iter().sum::<f64>().clamp(0.0, 1.0);
    if cost > 0.0 {
        parts.push(Part {
            name: "hints".to_owned(),
            points: -earned * cost,
            of: 0.0,
            why: format!(
                "{} cost {:.0} % of what was earned",
                counted(costs.len(), "hint"),
                cost * 100.0
            ),
        });
    }
    let total = parts
        .iter()
        .map(|part| part.points)
        .sum::<f64>()
        .clamp(0.0, 100.0);
    Score {
        verdict: verdict(life, is_repaired, diagnosis),
        total: (total * 10.0).round() / 10.0,
        parts,
        diagnosis,
        detect_ms: detected.and_then(|(at_ms, _)| since(*at_ms)),
        diagnose_ms: diagnoses.last().and_then(|(at_ms, _)| since(*at_ms)),
        repair_ms,
        hints: u32::try_from(costs.len()).unwrap_or(u32::MAX),
        commands: u32::try_from(commands).unwrap_or(u32::MAX),
        impact,
        collateral,
        shortcuts,
        mode,
    }
}

fn verdict(life: &Life, is_repaired: bool, diagnosis: Points) -> Verdict {
    match &life.outcome {
        Some(Outcome::LabError { .. }) => Verdict::LabError,
        Some(Outcome::TimeUp) => Verdict::Timeout,
        Some(Outcome::Repaired) if is_repaired && diagnosis.total() >= ENOUGH => Verdict::Pass,
        _ => Verdict::Fail,
    }
}

fn mitigation(is_repaired: bool, life: &Life, shortcuts: &[Shortcut]) -> Part {
    let names = || {
        let names: Vec<String> = shortcuts
            .iter()
            .map(|shortcut| format!("{shortcut:?}"))
            .collect();
        names.join(", ")
    };
    // Every submission that did not hold is a repair that was announced and was none.
    let early = life.submissions.saturating_sub(1);
    let (points, why) = match (is_repaired, shortcuts.is_empty()) {
        (true, _) if early == 0 => (MITIGATION, "it held, under load".to_owned()),
        (true, _) => (
            (MITIGATION - 5.0 * f64::from(early)).max(MITIGATION / 3.0),
            format!(
                "it held, under load, after {} that did not",
                counted(early as usize, "repair")
            ),
        ),
        (false, false) => (0.0, format!("void, for a shortcut: {}", names())),
        (false, true) => (0.0, "it was not repaired".to_owned()),
    };
    Part {
        name: "mitigation".to_owned(),
        points,
        of: MITIGATION,
        why,
    }
}

/// All of it within a quarter of the time, none at its end.
fn speed(repair_ms: Option<u64>, limit_ms: u64) -> Part {
    let (points, why) = match repair_ms {
        None => (0.0, "it was not repaired".to_owned()),
        Some(took_ms) => {
            let part = took_ms as f64 / limit_ms.max(1) as f64;
            let share = ((1.0 - part) / 0.75).clamp(0.0, 1.0);
            let minutes = took_ms as f64 / 60_000.0;
            let of = limit_ms / 60_000;
            (
                SPEED * share,
                format!("repaired after {minutes:.1} of {of} minutes"),
            )
        }
    };
    Part {
        name: "speed".to_owned(),
        points,
        of: SPEED,
        why,
    }
}

/// None where half of the requests were bad.
fn users(is_repaired: bool, impact: Option<Impact>) -> Part {
    let Some(impact) = impact else {
        return Part {
            name: "users".to_owned(),
            points: 0.0,
            of: IMPACT,
            why: "what users went through is not known".to_owned(),
        };
    };
    let share = (1.0 - impact.bad() / 0.5).clamp(0.0, 1.0);
    let why = format!(
        "{} of {} requests failed, {} were slow",
        impact.failed, impact.due, impact.slow
    );
    Part {
        name: "users".to_owned(),
        // Nobody earns something for users by leaving them alone.
        points: if is_repaired { IMPACT * share } else { 0.0 },
        of: IMPACT,
        why,
    }
}

/// Units that were touched, of those that neither the answer nor the reference solution touches.
fn collateral(scenario: &Scenario, entries: &[Entry]) -> Vec<String> {
    let sealed = &scenario.sealed;
    let mut expected = vec![sealed.answer.component.name().to_owned()];
    for step in &sealed.reference.repair {
        expected.extend(step.value.unit().map(str::to_owned));
    }
    let belongs = |unit: &str| {
        expected
            .iter()
            .any(|known| known == unit || (known == "api" && unit.starts_with("api@")))
    };
    let mut touched: Vec<String> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            Happened::Unit { unit, .. } => Some(unit.as_str()),
            Happened::Configured { service, .. } => Some(service.as_str()),
            _ => None,
        })
        .filter(|unit| !belongs(unit))
        .map(str::to_owned)
        .collect();
    touched.sort_unstable();
    touched.dedup();
    touched
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests;
