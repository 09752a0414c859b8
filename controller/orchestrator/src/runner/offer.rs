//! The drills that there are, each with what whoever asks has made of it, and where it is on the way of learning.

use std::{collections::BTreeMap, sync::Arc};

use observastack_spec::{
    drill::score::Verdict,
    scenario::{Brief, Scenario, path},
};
use serde::Serialize;

use super::{Reader, Runner};
use crate::{
    lab::Lab,
    store::{Attempt, StoreError},
};

/// A drill, to whoever asks for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    /// What a learner may know.
    #[serde(flatten)]
    pub brief: Brief,
    /// Its place on the way of learning, from 1.
    pub place: usize,
    /// What whoever asks has made of it.
    pub history: Attempts,
    /// Prerequisites that were not passed by whoever asks.
    pub missing: Vec<String>,
}

/// What was made of a drill so far, by runs that were scored.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attempts {
    /// How many.
    pub attempts: u32,
    /// Whether it was passed.
    pub passed: bool,
    /// The most points: of runs that passed, where there are any.
    pub best: Option<f64>,
    /// When that run was begun, in milliseconds since 1970.
    pub best_ms: Option<u64>,
}

impl Attempts {
    fn add(&mut self, attempt: &Attempt) {
        let passed = attempt.verdict == Verdict::Pass;
        self.attempts = self.attempts.saturating_add(1);
        let is_better = match (passed, self.passed) {
            (true, false) => true,
            (false, true) => false,
            _ => self.best.is_none_or(|best| attempt.total > best),
        };
        if is_better {
            self.passed = passed;
            self.best = Some(attempt.total);
            self.best_ms = Some(attempt.began_ms);
        }
    }
}

impl<L: Lab> Runner<L> {
    /// Every drill. The history is of runs that were begun with the reader's kind of token, in any version of the drill.
    ///
    /// # Errors
    /// The store's.
    pub fn offers(&self, reader: Reader) -> Result<Vec<Offer>, StoreError> {
        let mut made: BTreeMap<String, Attempts> = BTreeMap::new();
        for attempt in self.store.attempts(reader)? {
            let of_drill = made.entry(attempt.scenario.clone()).or_default();
            of_drill.add(&attempt);
        }
        let places = path::order(self.library.values().map(|scenario| &scenario.brief));
        let places: BTreeMap<&str, usize> = places.iter().map(String::as_str).zip(1..).collect();
        let is_passed = |id: &str| made.get(id).is_some_and(|made| made.passed);
        let offer = |(id, scenario): (&String, &Arc<Scenario>)| {
            let brief = scenario.brief.clone();
            let missing = brief.prerequisites.iter().filter(|one| !is_passed(one));
            Offer {
                place: places.get(id.as_str()).copied().unwrap_or_default(),
                history: made.get(id).cloned().unwrap_or_default(),
                missing: missing.map(|one| one.value.clone()).collect(),
                brief,
            }
        };
        Ok(self.library.iter().map(offer).collect())
    }
}
