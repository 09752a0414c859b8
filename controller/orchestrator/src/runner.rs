//! One run at a time, in slices of bounded length: whoever owns the runner calls [`Runner::tick`] a few times a second and hands it what learners
//! say in between. It has no clock of its own.
//!
//! - [`command`]: what learners and instructors say; [`phases`]: what each phase does in a slice; [`steps`]: the scenario's steps;
//! - [`run`]: what is known of a run, and kept; [`offer`]: the drills, with what was made of them; [`export`]: a record of each run that is over.

mod command;
mod export;
mod offer;
mod phases;
mod run;
mod steps;

use std::{collections::BTreeMap, sync::Arc};

use observastack_spec::{
    drill::{
        document::Block,
        life::{Effect, Event, Life, Phase},
        log::{Entry, Happened},
        postmortem::{self, Told},
        score::{Mode, Score},
    },
    scenario::{
        Scenario,
        answer::Points,
        plan::{Plan, plan},
    },
};
use tracing::{info, warn};

use self::run::Run;
pub use self::{
    command::{Command, Refusal},
    export::Record,
    offer::{Attempts, Offer},
    run::{Reader, Saved, Standing},
};
use crate::{
    lab::Lab,
    store::{Past, Store, StoreError},
};

/// Scenarios by their ids.
pub type Library = BTreeMap<String, Arc<Scenario>>;

/// Runs drills, one at a time.
#[derive(Debug)]
pub struct Runner<L> {
    lab: L,
    store: Store,
    library: Library,
    mode: Mode,
    run: Option<Run>,
    /// How much was written since the beginning.
    written: std::cell::Cell<u64>,
}

/// What is told of a run that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Which.
    pub run: i64,
    /// The drill's title.
    pub title: String,
    /// What it was worth.
    pub score: Score,
    /// What was wrong, and how to do better.
    pub debrief: Vec<Block>,
    /// The postmortem, begun.
    pub postmortem: Vec<Block>,
}

impl<L: Lab> Runner<L> {
    /// Opens the store; a run that was open goes on, or back, as [`Life`] has it. `rebooted`: the machine has begun anew since then, too.
    ///
    /// # Errors
    /// The store's.
    pub fn open(
        lab: L,
        store: Store,
        library: Library,
        mode: Mode,
        now_ms: u64,
        rebooted: bool,
    ) -> Result<Self, StoreError> {
        let mut runner = Self {
            lab,
            store,
            library,
            mode,
            run: None,
            written: std::cell::Cell::new(0),
        };
        if let Some((id, saved)) = runner.store.open_run::<Saved>()? {
            runner.take_up(id, saved, now_ms, rebooted)?;
        }
        Ok(runner)
    }

    fn take_up(
        &mut self,
        id: i64,
        saved: Saved,
        now_ms: u64,
        rebooted: bool,
    ) -> Result<(), StoreError> {
        let known = self.library.get(&saved.scenario).cloned();
        // A scenario that is gone, or another one by now, cannot go on; the lab goes back all the same.
        let same = known.filter(|scenario| scenario.brief.version.value == saved.version);
        let gone = same.is_none().then(|| {
            format!(
                "version {} of the scenario `{}` is not there any more",
                saved.version, saved.scenario
            )
        });
        self.lab.recall(&saved.usual);
        let run = Run::taken_up(id, saved, same);
        let is_in_it = matches!(
            run.saved.life.phase,
            Phase::Breaking | Phase::Investigating | Phase::Verifying
        );
        let lost = run.cannot_go_on().filter(|_| is_in_it && !rebooted);
        let event = match gone.or(lost.map(str::to_owned)) {
            Some(reason) => Event::Failed { reason },
            None => Event::ControllerRestarted { rebooted },
        };
        self.run = Some(run);
        // Not why it cannot go on: that may be what was broken.
        let goes_on = !matches!(event, Event::Failed { .. });
        info!(run = id, rebooted, goes_on, "a run was open");
        // A run that is being debriefed or reset has no place for a failure, and needs none.
        if self.event(now_ms, event)?.is_none() && self.phase() == Some(Phase::Debrief) {
            self.event(now_ms, Event::Reset)?;
        }
        Ok(())
    }

    /// Where the run is; nothing where there is none.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        Some(self.run.as_ref()?.saved.life.phase)
    }

    /// How the run stands, as far as its reader may know.
    #[must_use]
    pub fn standing(&self, reader: Reader) -> Option<Standing> {
        Some(self.run.as_ref()?.standing(reader))
    }

    /// The run's score, once there is one, as far as its reader may know.
    #[must_use]
    pub fn score(&self, reader: Reader) -> Option<Score> {
        let run = self.run.as_ref()?;
        let score = run.saved.score.clone()?;
        Some(match self.may_read_all(run.id, &run.saved, reader) {
            true => score,
            false => unexplained(score),
        })
    }

    /// What happened in the run that goes on, or in the last one, after so many entries, as far as its reader may know; and which run that is.
    ///
    /// # Errors
    /// The store's.
    pub fn public_entries(
        &self,
        after: u64,
        reader: Reader,
    ) -> Result<(i64, Vec<Entry>), StoreError> {
        let ended;
        let (id, saved) = match &self.run {
            Some(run) => (run.id, &run.saved),
            None => {
                let last = self.store.history(1)?;
                let Some(run) = last.first().map(|past| past.run) else {
                    return Ok((0, Vec::new()));
                };
                let Some(saved) = self.store.run::<Saved>(run)? else {
                    return Ok((0, Vec::new()));
                };
                ended = saved;
                (run, &ended)
            }
        };
        // One that was aborted or failed can be taken again: it tells no more than it did.
        let is_over = saved.score.is_some() && self.may_read_all(id, saved, reader);
        // What somebody who knows the answer does about it is the answer.
        let is_others = reader == Reader::Learner && saved.by == Reader::Teacher;
        let mut entries = self.store.entries(id, after)?;
        entries.retain(|entry| {
            is_over || (entry.what.is_public() && !(is_others && entry.what.is_learners()))
        });
        for entry in &mut entries {
            if let Happened::Ended { outcome } = &mut entry.what {
                *outcome = run::told(outcome.clone(), reader);
            }
        }
        Ok((id, entries))
    }

    /// Grows with everything that happens.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// The drills that there are.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The last runs, the newest first. Scores that are not their reader's to know as a whole do not explain themselves.
    ///
    /// # Errors
    /// The store's.
    pub fn history(&self, most: usize, reader: Reader) -> Result<Vec<Past>, StoreError> {
        let mut runs = self.store.history(most)?;
        if reader == Reader::Teacher {
            return Ok(runs);
        }
        for past in &mut runs {
            let saved = self.store.run::<Saved>(past.run)?;
            if !saved.is_some_and(|saved| self.may_read_all(past.run, &saved, reader)) {
                past.score = past.score.take().map(unexplained);
            }
        }
        Ok(runs)
    }

    /// Whether a run that has ended may be told as a whole. Learners read what they have begun themselves, and nothing of a drill that is being taken: the
    /// answer of an earlier run is its answer, too.
    fn may_read_all(&self, id: i64, saved: &Saved, reader: Reader) -> bool {
        let is_taken = self
            .run
            .as_ref()
            .is_some_and(|run| run.id != id && run.saved.scenario == saved.scenario);
        reader == Reader::Teacher || (saved.by == Reader::Learner && !is_taken)
    }

    /// What is told of a run, or of the one that goes on; nothing where it has not ended, was aborted, its scenario is not there any more, or it is not its
    /// reader's to know.
    ///
    /// # Errors
    /// The store's.
    pub fn report(&self, run: Option<i64>, reader: Reader) -> Result<Option<Report>, StoreError> {
        let Some(id) = run.or(self.run.as_ref().map(|run| run.id)) else {
            return Ok(None);
        };
        let Some(saved) = self.store.run::<Saved>(id)? else {
            return Ok(None);
        };
        if !self.may_read_all(id, &saved, reader) {
            return Ok(None);
        }
        let scenario = self.library.get(&saved.scenario);
        let scenario = scenario.filter(|one| one.brief.version.value == saved.version);
        let (Some(score), Some(scenario)) = (saved.score.clone(), scenario) else {
            return Ok(None);
        };
        let entries = self.store.entries(id, 0)?;
        let told = Told {
            scenario,
            seed: saved.seed,
            life: &saved.life,
            entries: &entries,
            score: &score,
        };
        Ok(Some(Report {
            run: id,
            title: scenario.brief.title.value.clone(),
            debrief: postmortem::debrief(told),
            postmortem: postmortem::postmortem(told),
            score,
        }))
    }

    /// One slice of what has to be done now.
    ///
    /// # Errors
    /// The store's; nothing is done then that it could not keep.
    pub async fn tick(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let Some(run) = &self.run else {
            return Ok(());
        };
        match (run.saved.life.phase, run.scenario.clone()) {
            (Phase::Resetting, _) => self.reset(now_ms).await,
            // It was over, and could not be kept.
            (Phase::Closed, _) => self.keep(),
            (Phase::Preparing, Some(scenario)) => self.prepare(now_ms, &scenario).await,
            (Phase::Breaking, Some(scenario)) => self.break_it(now_ms, &scenario).await,
            (Phase::Investigating, Some(scenario)) => self.watch(now_ms, &scenario).await,
            (Phase::Verifying, Some(scenario)) => self.verify(now_ms, &scenario).await,
            // Read until somebody says so; and without its scenario a run is on its way back already.
            (Phase::Debrief, _) | (_, None) => Ok(()),
        }
    }

    /// Hands the run an event; the effect, if it had a place for it.
    fn event(&mut self, now_ms: u64, event: Event) -> Result<Option<Effect>, StoreError> {
        let Some(run) = &mut self.run else {
            return Ok(None);
        };
        let before = run.saved.life.phase;
        let effect = match run.saved.life.take(now_ms, event) {
            Ok(effect) => effect,
            Err(refused) => {
                warn!(run = run.id, %refused, "an event came to nothing");
                return Ok(None);
            }
        };
        if let Some(effect) = effect {
            run.begin(effect, now_ms);
        }
        let after = run.saved.life.phase;
        if before != after {
            self.note(now_ms, Happened::Phase { phase: after })?;
            if let Some(outcome) = self.ended(before) {
                self.note(now_ms, Happened::Ended { outcome })?;
            }
        }
        self.keep()?;
        Ok(effect)
    }

    /// How it ended, where that is new.
    fn ended(&self, before: Phase) -> Option<observastack_spec::drill::life::Outcome> {
        let had_none = matches!(
            before,
            Phase::Preparing | Phase::Breaking | Phase::Investigating | Phase::Verifying
        );
        let outcome = self.run.as_ref()?.saved.life.outcome.clone();
        outcome.filter(|_| had_none)
    }

    /// Adds something that happened.
    fn note(&self, now_ms: u64, what: Happened) -> Result<(), StoreError> {
        match &self.run {
            Some(run) => {
                self.written.set(self.written.get() + 1);
                self.store.add(run.id, now_ms, what).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Keeps the run as it is.
    fn keep(&mut self) -> Result<(), StoreError> {
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        run.saved.usual = self.lab.usual();
        let is_over = run.saved.life.is_over();
        self.store
            .save(run.id, !is_over, &run.saved, run.saved.score.as_ref())?;
        if is_over {
            self.run = None;
        }
        Ok(())
    }

    /// Refuses what this machine lacks something for, before anything is done.
    async fn can_be_done(&self, scenario: &Scenario, plan: &Plan) -> Result<(), Refusal> {
        let capabilities = scenario.brief.needs.capabilities.iter();
        let capabilities: Vec<&str> = capabilities.map(|name| name.as_str()).collect();
        let faults = plan.entries.iter().filter_map(|entry| entry.fault.as_ref());
        let faults: Vec<&str> = faults.map(|request| request.fault.kind()).collect();
        let mut lacks = Vec::new();
        let needed = u64::from(scenario.brief.needs.memory_mib);
        if needed > 0 {
            let has = self.lab.memory_mib().await?;
            if has < needed {
                lacks.push(format!("memory: it has {has} MiB, {needed} MiB are needed"));
            }
        }
        lacks.extend(self.lab.lacks(&capabilities, &faults).await?);
        if lacks.is_empty() {
            return Ok(());
        }
        let id = scenario.brief.id.value.clone();
        Err(Refusal::Lacks { id, lacks })
    }

    /// Begins a drill.
    async fn start(&mut self, now_ms: u64, id: &str, seed: u64, by: Reader) -> Result<(), Refusal> {
        if self.run.is_some() {
            return Err(Refusal::Busy);
        }
        let scenario = self.library.get(id).cloned();
        let scenario = scenario.ok_or_else(|| Refusal::Unknown {
            id: id.to_owned(),
            known: self.library.keys().cloned().collect(),
        })?;
        let plan = plan(&scenario, seed);
        self.can_be_done(&scenario, &plan).await?;
        let (life, effect) = Life::begin(now_ms);
        let saved = Saved::new(&scenario, seed, by, self.mode, life);
        let number = self.store.begin(id, now_ms, &saved)?;
        let mut run = Run::planned(number, saved, Some(scenario), plan);
        run.begin(effect, now_ms);
        self.run = Some(run);
        self.note(
            now_ms,
            Happened::Phase {
                phase: Phase::Preparing,
            },
        )?;
        info!(run = number, scenario = id, "a drill begins");
        Ok(())
    }
}

/// A score without what it says of the answer.
fn unexplained(score: Score) -> Score {
    Score {
        parts: Vec::new(),
        collateral: Vec::new(),
        shortcuts: Vec::new(),
        diagnosis: Points::default(),
        ..score
    }
}

#[cfg(test)]
mod tests;
