//! What is known of a run.

use std::{collections::BTreeMap, sync::Arc};

use observastack_spec::{
    drill::{
        life::{Effect, Life, Outcome},
        score::{Impact, Mode, Score},
    },
    scenario::{
        Scenario,
        action::Action,
        plan::{self, Plan},
        sealed::Shortcut,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who begins a run, and who reads what is told of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reader {
    /// Must not find an answer before it is looked for.
    Learner,
    /// May read everything: instructors, and whoever proves a drill.
    #[default]
    Teacher,
}

impl Reader {
    /// As it is kept.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learner => "learner",
            Self::Teacher => "teacher",
        }
    }
}

/// What is kept of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Which scenario.
    pub scenario: String,
    /// Which version of it.
    pub version: u32,
    /// What repeats it.
    pub seed: u64,
    /// Who has begun it; not known of a run of before that was kept.
    #[serde(default)]
    pub by: Reader,
    /// Whether its score is more than advice; not known of a run of before that was kept.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Where it is.
    pub life: Life,
    /// When the baseline was seen to hold: the steps' times count from there.
    pub baseline_ms: Option<u64>,
    /// Which entries of the plan were done.
    pub done: Vec<bool>,
    /// Ids of the faults that are in force, by their names.
    pub faults: BTreeMap<String, u64>,
    /// How many hints were taken.
    pub hints: u32,
    /// Whether the learner has said what is wrong.
    pub is_diagnosed: bool,
    /// The entry of the plan that is being done: whether it was is not known to whoever begins anew.
    pub doing: Option<usize>,
    /// What is usual in the lab.
    #[serde(default)]
    pub usual: Value,
    /// What users had gone through when it was broken.
    pub at_break: Option<Impact>,
    /// What it is worth, once it has ended.
    pub score: Option<Score>,
}

impl Saved {
    /// A run that begins.
    pub(super) fn new(scenario: &Scenario, seed: u64, by: Reader, mode: Mode, life: Life) -> Self {
        Self {
            scenario: scenario.brief.id.value.clone(),
            version: scenario.brief.version.value,
            seed,
            by,
            mode: Some(mode),
            life,
            baseline_ms: None,
            done: Vec::new(),
            faults: BTreeMap::new(),
            hints: 0,
            is_diagnosed: false,
            doing: None,
            usual: Value::Null,
            at_break: None,
            score: None,
        }
    }
}

/// How a run stands, as far as its reader may know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The run's number.
    pub run: i64,
    /// Which scenario.
    pub scenario: String,
    /// Where it is.
    pub life: Life,
    /// When the learner's time is up, in milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// Hints that are left.
    pub hints_left: u32,
    /// Whether the learner has said what is wrong.
    pub is_diagnosed: bool,
}

/// How a run ended, as its reader may know it: what the lab could not do may be what was to be broken.
pub(super) fn told(outcome: Outcome, reader: Reader) -> Outcome {
    match outcome {
        Outcome::LabError { .. } if reader == Reader::Learner => Outcome::LabError {
            reason: "the lab could not do its part; an instructor is told what".to_owned(),
        },
        outcome => outcome,
    }
}

/// A run that goes on.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: i64,
    pub(super) saved: Saved,
    /// Nothing where the scenario is gone: then the lab can only go back.
    pub(super) scenario: Option<Arc<Scenario>>,
    pub(super) plan: Plan,
    /// When what is being done was begun.
    pub(super) since_ms: u64,
    /// Whether the first part of it is done: the lab is prepared; the replay was done.
    pub(super) is_under_way: bool,
    /// Since when everything that is waited for holds.
    pub(super) holds_since_ms: Option<u64>,
    /// What each check has found last.
    pub(super) found: BTreeMap<String, bool>,
    /// Since when something cannot be looked at.
    pub(super) blind_since_ms: Option<u64>,
    /// Shortcuts that were seen while it was verified.
    pub(super) shortcuts: BTreeMap<Shortcut, String>,
}

impl Run {
    /// One that an earlier controller has begun.
    pub(super) fn taken_up(id: i64, saved: Saved, scenario: Option<Arc<Scenario>>) -> Self {
        let plan = scenario.as_ref().map_or_else(
            || Plan {
                seed: saved.seed,
                entries: Vec::new(),
            },
            |scenario| plan::plan(scenario, saved.seed),
        );
        Self::planned(id, saved, scenario, plan)
    }

    /// One with its plan.
    pub(super) fn planned(
        id: i64,
        mut saved: Saved,
        scenario: Option<Arc<Scenario>>,
        plan: Plan,
    ) -> Self {
        saved.done.resize(plan.entries.len(), false);
        Self {
            id,
            since_ms: saved.life.moments.began,
            saved,
            scenario,
            plan,
            is_under_way: false,
            holds_since_ms: None,
            found: BTreeMap::new(),
            blind_since_ms: None,
            shortcuts: BTreeMap::new(),
        }
    }

    /// Something else is to be done from now on.
    pub(super) fn begin(&mut self, effect: Effect, now_ms: u64) {
        self.since_ms = now_ms;
        self.is_under_way = false;
        self.holds_since_ms = None;
        self.blind_since_ms = None;
        self.shortcuts.clear();
        if effect == Effect::Break {
            self.saved.baseline_ms = Some(now_ms);
        }
        if effect == Effect::Prepare {
            // Begun anew, whatever there was.
            self.saved.baseline_ms = None;
            self.saved.faults.clear();
            self.saved.done.fill(false);
        }
    }

    pub(super) fn standing(&self, reader: Reader) -> Standing {
        let hints = self
            .scenario
            .as_ref()
            .map_or(0, |scenario| scenario.sealed.hints.len());
        let hints = u32::try_from(hints).unwrap_or(u32::MAX);
        let mut life = self.saved.life.clone();
        life.outcome = life.outcome.map(|outcome| told(outcome, reader));
        Standing {
            run: self.id,
            scenario: self.saved.scenario.clone(),
            until_ms: self.until_ms(),
            life,
            hints_left: hints.saturating_sub(self.saved.hints),
            is_diagnosed: self.saved.is_diagnosed,
        }
    }

    /// What a controller that begins anew cannot go on with, in words.
    pub(super) fn cannot_go_on(&self) -> Option<&'static str> {
        if self.saved.doing.is_some() {
            return Some("the controller was restarted while it did a step");
        }
        let holds_session = |(number, entry): (usize, &plan::Entry)| {
            let is_held = matches!(&entry.action, Action::Sql(sql) if sql.hold);
            is_held && self.saved.done.get(number) == Some(&true)
        };
        let mut entries = self.plan.entries.iter().enumerate();
        entries
            .any(holds_session)
            .then_some("the controller was restarted, and a session that it kept open is gone")
    }

    /// When the learner's time is up.
    pub(super) fn until_ms(&self) -> Option<u64> {
        let minutes = self.scenario.as_ref()?.brief.minutes.value;
        let broken = self.saved.life.moments.broken?;
        Some(broken + u64::from(minutes) * 60_000)
    }
}
