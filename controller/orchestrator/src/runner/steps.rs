//! The scenario's steps: what is due, what waits for a check, what waits for the learner.

use observastack_spec::{
    drill::log::Happened,
    scenario::{
        action::Action,
        check::Check,
        plan::{Entry, Moment},
        sealed::LearnerEvent,
    },
};

use super::Runner;
use crate::{
    lab::{Lab, LabError, Undo},
    store::StoreError,
};

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<L: Lab> Runner<L> {
    /// Does every step that is due, in their order. What could not be done is the lab's failure, unless it was noise.
    pub(super) async fn due(&mut self, now_ms: u64) -> Result<Result<(), LabError>, StoreError> {
        while let Some(number) = self.next_due(now_ms).await? {
            if let Err(error) = self.perform(now_ms, number).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// The next one that is due. One that waits for a check keeps those behind it waiting, too, as long as it may.
    async fn next_due(&mut self, now_ms: u64) -> Result<Option<usize>, StoreError> {
        let Some(run) = &self.run else {
            return Ok(None);
        };
        let Some(baseline_ms) = run.saved.baseline_ms else {
            return Ok(None);
        };
        let since_ms = u128::from(now_ms.saturating_sub(baseline_ms));
        let (mut timed, mut waiting) = (None, Vec::new());
        for (number, entry) in run.plan.entries.iter().enumerate() {
            if run.saved.done.get(number) != Some(&false) {
                continue;
            }
            match &entry.moment {
                Moment::At(at) if timed.is_none() => {
                    timed = Some((number, at.get().as_millis(), entry.action.clone()));
                }
                Moment::When(check) => waiting.push((number, check.clone())),
                _ => {}
            }
        }
        if let Some((number, due_ms, action)) = timed
            && due_ms <= since_ms
        {
            let is_ready = match &action {
                Action::Check(wait) if since_ms < due_ms + wait.within.get().as_millis() => {
                    self.holds(now_ms, &wait.that, false).await?
                }
                _ => true,
            };
            if is_ready {
                return Ok(Some(number));
            }
        }
        self.first_that_holds(now_ms, waiting).await
    }

    async fn first_that_holds(
        &mut self,
        now_ms: u64,
        waiting: Vec<(usize, Check)>,
    ) -> Result<Option<usize>, StoreError> {
        for (number, check) in waiting {
            if self
                .holds(now_ms, std::slice::from_ref(&check), false)
                .await?
            {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Does what waits for this.
    pub(super) async fn trigger(
        &mut self,
        now_ms: u64,
        event: LearnerEvent,
    ) -> Result<(), StoreError> {
        loop {
            let Some(run) = &self.run else {
                return Ok(());
            };
            let waits = |(number, entry): (usize, &Entry)| {
                let is_its = entry.moment == Moment::On(event);
                (is_its && run.saved.done.get(number) == Some(&false)).then_some(number)
            };
            let Some(number) = run.plan.entries.iter().enumerate().find_map(waits) else {
                return Ok(());
            };
            // It is noted; the learner's own doing must not fail for it.
            let _ = self.perform(now_ms, number).await?;
        }
    }

    /// Does one entry of the plan, once.
    async fn perform(
        &mut self,
        now_ms: u64,
        number: usize,
    ) -> Result<Result<(), LabError>, StoreError> {
        let Some(run) = &mut self.run else {
            return Ok(Ok(()));
        };
        let Some(entry) = run.plan.entries.get(number).cloned() else {
            return Ok(Ok(()));
        };
        if let Some(done) = run.saved.done.get_mut(number) {
            *done = true;
        }
        run.saved.doing = Some(number);
        // Kept first: a step that was begun is never begun again.
        self.keep()?;
        self.note(
            now_ms,
            Happened::Did {
                action: entry.action.to_string(),
                is_noise: entry.is_noise,
            },
        )?;
        let acted = self.act(now_ms, &entry).await;
        if let Some(run) = &mut self.run {
            run.saved.doing = None;
        }
        self.keep()?;
        match acted {
            Ok(()) => Ok(Ok(())),
            Err(StepError::Store(error)) => Err(error),
            Err(StepError::Lab(error)) if entry.is_noise => {
                tracing::debug!(%error, "noise could not be made");
                tracing::warn!("noise could not be made");
                Ok(Ok(()))
            }
            Err(StepError::Lab(error)) => Ok(Err(error)),
        }
    }

    /// The one place where an action is carried out.
    pub(super) async fn act(&mut self, now_ms: u64, entry: &Entry) -> Result<(), StepError> {
        match &entry.action {
            Action::Load(load) => self.lab.begin_load(load).await?,
            Action::Rate(rate) => self.lab.set_rate(rate).await?,
            Action::StopLoad(_) => self.lab.stop_load().await?,
            Action::Config(config) => self.lab.configure(config).await?,
            Action::Restart(unit) => self.lab.restart(unit).await?,
            Action::Fault(step) => {
                let Some(request) = entry.fault.clone() else {
                    return Err(StepError::Lab(LabError {
                        what: format!("fault {}", *step.name),
                        reason: "it cannot be read".to_owned(),
                    }));
                };
                // One of the same name is done once more, not twice at once.
                let earlier = self
                    .run
                    .as_mut()
                    .and_then(|run| run.saved.faults.remove(step.name.as_str()));
                if let Some(id) = earlier {
                    self.lab.clear(id).await?;
                }
                let id = self.lab.inject(request).await?;
                if let Some(run) = &mut self.run {
                    run.saved.faults.insert(step.name.value.clone(), id);
                }
                self.keep()?;
            }
            Action::Clear(name) => {
                let id = self
                    .run
                    .as_mut()
                    .and_then(|run| run.saved.faults.remove(name.as_str()));
                // Cleared before: there is nothing to do.
                if let Some(id) = id {
                    self.lab.clear(id).await?;
                }
                self.keep()?;
            }
            Action::Sql(sql) => {
                self.store.keep_undo(&Undo::Sql {
                    statements: sql.undo.value.clone(),
                })?;
                self.lab.sql(&sql.statements, sql.hold).await?;
            }
            Action::File(state) => {
                self.store.keep_undo(&Undo::File { file: state.file })?;
                self.lab.file(state).await?;
            }
            Action::Notify(notify) => self.note(
                now_ms,
                Happened::Told {
                    from: notify.from,
                    urgency: notify.urgency,
                    text: notify.text.value.clone(),
                },
            )?,
            Action::Hint(number) => {
                let hint = self.run.as_ref().and_then(|run| {
                    let hints = &run.scenario.as_ref()?.sealed.hints;
                    hints.get((number.value as usize).checked_sub(1)?).cloned()
                });
                if let Some(hint) = hint {
                    self.tell(now_ms, hint.text.value)?;
                }
            }
            Action::Check(wait) => {
                if !self.holds(now_ms, &wait.that, false).await? {
                    return Err(StepError::Lab(LabError {
                        what: "a step".to_owned(),
                        reason: format!("what it waits for does not hold within {}", wait.within),
                    }));
                }
            }
        }
        Ok(())
    }

    /// Whether all of these hold now; what is another answer than the last one is noted where learners may see it.
    pub(super) async fn holds(
        &mut self,
        now_ms: u64,
        checks: &[Check],
        is_public: bool,
    ) -> Result<bool, StoreError> {
        Ok(self.look(now_ms, checks, is_public).await? == Some(true))
    }

    /// The same; nothing where something cannot be looked at and everything else holds.
    pub(super) async fn look(
        &mut self,
        now_ms: u64,
        checks: &[Check],
        is_public: bool,
    ) -> Result<Option<bool>, StoreError> {
        let (mut all, mut is_blind) = (true, false);
        for check in checks {
            let Some(run) = &self.run else {
                return Ok(Some(false));
            };
            let looked = self.lab.check(check, &run.saved.faults).await;
            let (holds, found) = match looked {
                Ok(found) => (found.holds, found.found),
                Err(error) => {
                    // The journal is a learner's to read; the error may have the query in it.
                    if check.is_public() {
                        tracing::warn!(%check, %error, "a check cannot be looked at");
                    } else {
                        tracing::warn!("a sealed check cannot be looked at");
                    }
                    is_blind = true;
                    continue;
                }
            };
            all &= holds;
            // A query, or a fault's name, may be the answer.
            let (name, found) = if check.is_public() {
                (check.to_string(), found)
            } else {
                ("another check".to_owned(), String::new())
            };
            let key = check.to_string();
            let is_new = match &mut self.run {
                Some(run) if is_public => run.found.insert(key, holds) != Some(holds),
                _ => false,
            };
            if is_new {
                self.note(
                    now_ms,
                    Happened::Checked {
                        check: name,
                        holds,
                        found,
                    },
                )?;
            }
        }
        Ok(match (all, is_blind) {
            (false, _) => Some(false),
            (true, true) => None,
            (true, false) => Some(true),
        })
    }
}
