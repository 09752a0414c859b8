//! What each phase does in a slice.

use observastack_spec::{
    drill::{
        life::{Event, Outcome},
        log::Happened,
        score::score,
    },
    scenario::{Scenario, action::Action, check::Check, plan::Moment},
};
use tracing::{debug, error, warn};

use super::{Runner, steps::StepError};
use crate::{
    lab::{Lab, LabError},
    store::StoreError,
};

/// How long the baseline may take to hold under the load.
const BASELINE_MS: u64 = 90_000;
/// For how long the baseline must hold.
const BASELINE_HOLDS_MS: u64 = 2_000;
/// How long something may not be looked at, before it is the lab's failure.
const BLIND_MS: u64 = 30_000;
/// How long a repair may take to show, once it was submitted: what is measured looks back a little, and wavers meanwhile.
const SETTLES_MS: u64 = 20_000;

impl<L: Lab> Runner<L> {
    /// Brings the lab to its baseline, begins the load, and looks until the baseline holds.
    pub(super) async fn prepare(
        &mut self,
        now_ms: u64,
        scenario: &Scenario,
    ) -> Result<(), StoreError> {
        if !self.is_under_way() {
            let prepared = match self.take_back().await? {
                Ok(()) => self.lab.begin_load(&scenario.sealed.load).await,
                Err(error) => Err(error),
            };
            if let Err(error) = prepared {
                return self.failed(now_ms, &error);
            }
            self.set_under_way();
        }
        if self.held(now_ms, &scenario.sealed.baseline, false).await? >= Some(BASELINE_HOLDS_MS) {
            self.event(now_ms, Event::BaselineHolds)?;
        } else if self.took_ms(now_ms) > BASELINE_MS {
            let reason = "the baseline does not hold: the lab is not healthy".to_owned();
            self.event(now_ms, Event::Failed { reason })?;
        }
        Ok(())
    }

    /// Does the steps until it is broken.
    pub(super) async fn break_it(
        &mut self,
        now_ms: u64,
        scenario: &Scenario,
    ) -> Result<(), StoreError> {
        if let Err(error) = self.due(now_ms).await? {
            return self.failed(now_ms, &error);
        }
        let broken = &scenario.sealed.broken;
        if self.holds(now_ms, &broken.that, false).await? {
            let impact = self.lab.impact().await.ok();
            if let Some(run) = &mut self.run {
                run.saved.at_break = impact;
            }
            self.event(now_ms, Event::Broken)?;
            return Ok(());
        }
        // From the last step that has a time and is no noise.
        let last = self.run.as_ref().map_or(0, |run| {
            let times = run.plan.entries.iter().filter(|entry| !entry.is_noise);
            let times = times.filter_map(|entry| match &entry.moment {
                Moment::At(at) => u64::try_from(at.get().as_millis()).ok(),
                _ => None,
            });
            times.max().unwrap_or(0)
        });
        let within = u64::try_from(broken.within.get().as_millis()).unwrap_or(u64::MAX);
        if self.took_ms(now_ms) > last.saturating_add(within) {
            let reason = "what was to be broken is not: nobody would notice anything".to_owned();
            self.event(now_ms, Event::Failed { reason })?;
        }
        Ok(())
    }

    /// The learner's time.
    pub(super) async fn watch(
        &mut self,
        now_ms: u64,
        scenario: &Scenario,
    ) -> Result<(), StoreError> {
        if let Err(error) = self.due(now_ms).await? {
            return self.failed(now_ms, &error);
        }
        if let Some(reason) = self.what_is_gone().await {
            self.event(now_ms, Event::Failed { reason })?;
            return Ok(());
        }
        self.tell_whether_it_holds(now_ms, &scenario.sealed.repaired.that)
            .await?;
        if self.is_time_up(now_ms) {
            self.finish(now_ms, Event::TimeUp).await?;
        }
        Ok(())
    }

    /// Whether the learner's time is up.
    pub(super) fn is_time_up(&self, now_ms: u64) -> bool {
        let until_ms = self.run.as_ref().and_then(super::Run::until_ms);
        until_ms.is_some_and(|until_ms| now_ms >= until_ms)
    }

    /// A fault that should be in force and is not: whoever waits for that repairs nothing. One that has an end of its own may end.
    async fn what_is_gone(&self) -> Option<String> {
        let run = self.run.as_ref()?;
        let lasts = |name: &str| {
            run.plan.entries.iter().any(|entry| {
                matches!(&entry.action, Action::Fault(step) if step.name.as_str() == name && !step.with.contains_key("for"))
            })
        };
        let mut wanted = run.saved.faults.iter().filter(|(name, _)| lasts(name));
        // What cannot be looked at now is looked at again in a moment.
        let active = self.lab.in_force().await.ok()?;
        let (name, id) = wanted.find(|(_, id)| !active.contains(id))?;
        Some(format!("the fault {name} ({id}) is in force no longer"))
    }

    /// The learner says that it is repaired: what was done once is done once more, and then it has to hold.
    pub(super) async fn verify(
        &mut self,
        now_ms: u64,
        scenario: &Scenario,
    ) -> Result<(), StoreError> {
        if let Err(error) = self.due(now_ms).await? {
            return self.failed(now_ms, &error);
        }
        let repaired = &scenario.sealed.repaired;
        if !self.is_under_way() {
            self.set_under_way();
            for action in &repaired.replay {
                let entry = observastack_spec::scenario::plan::Entry {
                    moment: Moment::At(observastack_spec::HumanDuration::from_millis(0)),
                    action: action.value.clone(),
                    fault: self.replayed(&action.value),
                    is_noise: false,
                };
                match self.act(now_ms, &entry).await {
                    Ok(()) => {}
                    Err(StepError::Store(error)) => return Err(error),
                    Err(StepError::Lab(error)) => return self.failed(now_ms, &error),
                }
            }
        }
        if let Some(reason) = self.what_is_gone().await {
            self.event(now_ms, Event::Failed { reason })?;
            return Ok(());
        }
        let Ok(shortcuts) = self.lab.shortcuts().await else {
            return self.is_blind(now_ms);
        };
        if let Some(run) = &mut self.run {
            run.shortcuts.extend(shortcuts);
        }
        let before = self.run.as_ref().and_then(|run| run.holds_since_ms);
        let hold_ms = u64::try_from(repaired.hold.get().as_millis()).unwrap_or(u64::MAX);
        match self.look(now_ms, &repaired.that, true).await? {
            None => return self.is_blind(now_ms),
            Some(true) => {
                let since_ms = self.run.as_mut().map_or(now_ms, |run| {
                    run.blind_since_ms = None;
                    *run.holds_since_ms.get_or_insert(now_ms)
                });
                if before.is_none() {
                    self.event(now_ms, Event::Holds)?;
                }
                if now_ms.saturating_sub(since_ms) >= hold_ms {
                    return self.held_to_the_end(now_ms).await;
                }
            }
            // It has had its time, or it has held after it and does not any more.
            Some(false) if self.took_ms(now_ms) > SETTLES_MS => {
                let check = self.first_that_does_not_hold(&repaired.that);
                self.note(now_ms, Happened::NotRepaired { check })?;
                self.event(now_ms, Event::HoldsNoMore)?;
                if self.is_time_up(now_ms) {
                    self.finish(now_ms, Event::TimeUp).await?;
                }
            }
            Some(false) => {
                // Also where it could not be looked at in between: it has been told that it holds.
                let is_told = self.run.as_mut().is_some_and(|run| {
                    run.holds_since_ms = None;
                    run.saved.life.moments.holds_since.is_some()
                });
                if is_told {
                    self.event(now_ms, Event::Wavers)?;
                }
            }
        }
        Ok(())
    }

    /// It has held: then what was repaired must not have cost an order.
    async fn held_to_the_end(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let Ok(broken) = self.lab.broken_invariants().await else {
            return self.is_blind(now_ms);
        };
        if broken.is_empty() {
            self.note_shortcuts(now_ms)?;
            return self.finish(now_ms, Event::HeldToTheEnd).await;
        }
        let check = broken.join("; ");
        self.note(now_ms, Happened::NotRepaired { check })?;
        self.event(now_ms, Event::HoldsNoMore)?;
        Ok(())
    }

    /// Something cannot be looked at: that is no learner's fault, and for a while the hold just waits.
    fn is_blind(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let since_ms = self.run.as_mut().map_or(now_ms, |run| {
            run.holds_since_ms = None;
            *run.blind_since_ms.get_or_insert(now_ms)
        });
        if now_ms.saturating_sub(since_ms) > BLIND_MS {
            let reason = "what shows a repair cannot be looked at".to_owned();
            self.event(now_ms, Event::Failed { reason })?;
        }
        Ok(())
    }

    /// Those of the time that is judged: what was tried and put back before is nobody's business.
    fn note_shortcuts(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let found = self.run.as_ref().map(|run| run.shortcuts.clone());
        for (shortcut, found) in found.unwrap_or_default() {
            self.note(now_ms, Happened::Shortcut { shortcut, found })?;
        }
        Ok(())
    }

    /// Brings the lab back, as often as it takes.
    pub(super) async fn reset(&mut self, now_ms: u64) -> Result<(), StoreError> {
        match self.take_back().await? {
            Ok(()) => {
                self.event(now_ms, Event::ResetDone)?;
            }
            Err(error) => {
                // Both are a learner's to read, and the reason may have what was broken in it: `debug` in the unit's log level tells it.
                error!("the lab is not at its baseline yet; it is tried again");
                debug!(%error, "why");
                let text = "the lab is not at its baseline yet; it is tried again".to_owned();
                let is_new = self
                    .run
                    .as_mut()
                    .is_some_and(|run| run.found.insert(text.clone(), false).is_none());
                if is_new {
                    self.tell(now_ms, text)?;
                }
            }
        }
        Ok(())
    }

    /// Takes everything back; what was kept to be taken back is forgotten only then.
    async fn take_back(&mut self) -> Result<Result<(), LabError>, StoreError> {
        let undo = self.store.undo()?;
        if let Err(error) = self.lab.reset(&undo).await {
            return Ok(Err(error));
        }
        self.store.forget_undo()?;
        if let Some(run) = &mut self.run {
            run.saved.faults.clear();
        }
        Ok(Ok(()))
    }

    /// The learner's time ends: what it was worth. Score and end are kept together.
    pub(super) async fn finish(&mut self, now_ms: u64, event: Event) -> Result<(), StoreError> {
        // The load goes on until the reset; what users went through by now is what counts.
        let impact = match self.lab.impact().await {
            Ok(impact) => {
                let before = self.run.as_ref().and_then(|run| run.saved.at_break);
                Some(impact.since(before.unwrap_or_default()))
            }
            Err(error) => {
                warn!(%error, "what users went through is not known");
                None
            }
        };
        let Some(run) = &mut self.run else {
            return Ok(());
        };
        let Some(scenario) = run.scenario.clone() else {
            return Ok(());
        };
        let mut life = run.saved.life.clone();
        if life.take(now_ms, event.clone()).is_err() {
            return Ok(());
        }
        let entries = self.store.entries(run.id, 0)?;
        let score = score(&scenario, &life, &entries, impact, self.mode);
        let points = score.diagnosis;
        run.saved.score = Some(score);
        self.note(now_ms, Happened::Graded { points })?;
        self.event(now_ms, event).map(drop)
    }

    fn failed(&mut self, now_ms: u64, error: &LabError) -> Result<(), StoreError> {
        let reason = error.to_string();
        self.event(now_ms, Event::Failed { reason }).map(drop)
    }

    /// For how long all of these have held by now; nothing where they don't.
    async fn held(
        &mut self,
        now_ms: u64,
        checks: &[Check],
        is_public: bool,
    ) -> Result<Option<u64>, StoreError> {
        let holds = self.holds(now_ms, checks, is_public).await?;
        let Some(run) = &mut self.run else {
            return Ok(None);
        };
        if !holds {
            run.holds_since_ms = None;
            return Ok(None);
        }
        let since_ms = *run.holds_since_ms.get_or_insert(now_ms);
        Ok(Some(now_ms.saturating_sub(since_ms)))
    }

    async fn tell_whether_it_holds(
        &mut self,
        now_ms: u64,
        checks: &[Check],
    ) -> Result<(), StoreError> {
        let before = self.run.as_ref().and_then(|run| run.holds_since_ms);
        let held = self.held(now_ms, checks, true).await?;
        match (before, held) {
            (None, Some(_)) => self.event(now_ms, Event::Holds).map(drop),
            (Some(_), None) => self.event(now_ms, Event::HoldsNoMore).map(drop),
            _ => Ok(()),
        }
    }

    fn replayed(&self, action: &Action) -> Option<observastack_spec::fault::FaultRequest> {
        let run = self.run.as_ref()?;
        let planned = run
            .plan
            .entries
            .iter()
            .find(|entry| entry.action == *action);
        match (planned, action) {
            (Some(entry), _) => entry.fault.clone(),
            (None, Action::Fault(step)) => step.request(None).ok(),
            _ => None,
        }
    }

    fn first_that_does_not_hold(&self, checks: &[Check]) -> String {
        let found = |check: &&Check| {
            let run = self.run.as_ref()?;
            run.found.get(&check.to_string()).copied()
        };
        let first = checks.iter().find(|check| found(check) == Some(false));
        match first {
            Some(check) if check.is_public() => check.to_string(),
            _ => "another check".to_owned(),
        }
    }

    fn is_under_way(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.is_under_way)
    }

    fn set_under_way(&mut self) {
        if let Some(run) = &mut self.run {
            run.is_under_way = true;
        }
    }

    /// For how long the phase has been doing what it does.
    fn took_ms(&self, now_ms: u64) -> u64 {
        let since_ms = self.run.as_ref().map_or(now_ms, |run| run.since_ms);
        now_ms.saturating_sub(since_ms)
    }

    /// How the run has ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.run.as_ref()?.saved.life.outcome.as_ref()
    }
}
