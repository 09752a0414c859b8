//! What a team's lead takes away: a record of each run that is over.

use std::collections::BTreeMap;

use observastack_spec::{
    drill::{life::Outcome, score::Mode},
    scenario::sealed::Shortcut,
};
use serde::Serialize;

use super::{Reader, Runner, Saved};
use crate::{lab::Lab, store::StoreError};

/// A run that is over. What was not scored (aborted, or the lab could not do its part) has no points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Its number.
    pub run: i64,
    /// Which drill.
    pub drill: String,
    /// Which version of it.
    pub version: u32,
    /// What repeats it.
    pub seed: u64,
    /// Whose token has begun it.
    pub begun_by: Reader,
    /// Whether the score is more than advice; not known of runs of before that was kept that were not scored.
    pub mode: Option<Mode>,
    /// When it was begun, in milliseconds since 1970.
    pub began_ms: u64,
    /// When the learner's time ended.
    pub ended_ms: Option<u64>,
    /// `pass`, `fail`, `timeout`, `lab-error` or `aborted`.
    pub verdict: &'static str,
    /// All points, 0 to 100.
    pub score: Option<f64>,
    /// Where they come from.
    pub points: BTreeMap<String, f64>,
    /// From the break to the first diagnosis with the right component.
    pub detect_ms: Option<u64>,
    /// To the last diagnosis.
    pub diagnose_ms: Option<u64>,
    /// To the moment since when what shows a repair held.
    pub repair_ms: Option<u64>,
    /// Hints that were taken.
    pub hints: u32,
    /// Commands that were used.
    pub commands: Option<u32>,
    /// Requests that were due from the break to the end.
    pub due: Option<u64>,
    /// Those that failed.
    pub failed: Option<u64>,
    /// Those that were slow.
    pub slow: Option<u64>,
    /// How many times the error budget of these requests was burnt.
    pub budget_burnt: Option<f64>,
    /// Units that were touched and had nothing to do with it.
    pub collateral: Vec<String>,
    /// Shortcuts that made the repair void.
    pub shortcuts: Vec<Shortcut>,
}

impl Record {
    fn of(run: i64, saved: Saved) -> Self {
        let moments = saved.life.moments;
        let score = saved.score;
        let impact = score.as_ref().and_then(|score| score.impact);
        let verdict = match (&score, &saved.life.outcome) {
            (Some(score), _) => score.verdict.name(),
            (None, Some(Outcome::LabError { .. })) => "lab-error",
            (None, _) => "aborted",
        };
        let parts = score.iter().flat_map(|score| &score.parts);
        Self {
            run,
            drill: saved.scenario,
            version: saved.version,
            seed: saved.seed,
            begun_by: saved.by,
            mode: score.as_ref().map(|score| score.mode).or(saved.mode),
            began_ms: moments.began,
            ended_ms: moments.ended,
            verdict,
            score: score.as_ref().map(|score| score.total),
            points: parts.map(|part| (part.name.clone(), part.points)).collect(),
            detect_ms: score.as_ref().and_then(|score| score.detect_ms),
            diagnose_ms: score.as_ref().and_then(|score| score.diagnose_ms),
            repair_ms: score.as_ref().and_then(|score| score.repair_ms),
            hints: saved.hints,
            commands: score.as_ref().map(|score| score.commands),
            due: impact.map(|impact| impact.due),
            failed: impact.map(|impact| impact.failed),
            slow: impact.map(|impact| impact.slow),
            budget_burnt: impact.map(|impact| impact.budget_burnt()),
            collateral: score
                .as_ref()
                .map(|score| score.collateral.clone())
                .unwrap_or_default(),
            shortcuts: score.map(|score| score.shortcuts).unwrap_or_default(),
        }
    }
}

impl<L: Lab> Runner<L> {
    /// Records of runs that are over, the oldest first: after a run's number, begun at a moment or later, and not more than so many.
    ///
    /// # Errors
    /// The store's.
    pub fn export(
        &self,
        after: i64,
        since_ms: u64,
        most: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let ended = self.store.ended::<Saved>(after, since_ms, most)?;
        let records = ended.into_iter().map(|(run, saved)| Record::of(run, saved));
        Ok(records.collect())
    }
}
