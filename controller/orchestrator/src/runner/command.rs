//! What learners and instructors say.

use observastack_spec::{
    drill::{
        life::{Event, Phase, Refused},
        log::Happened,
    },
    scenario::{
        action::{Teller, Urgency},
        answer::Diagnosis,
        sealed::LearnerEvent,
    },
};

use super::{Reader, Runner};
use crate::{
    lab::{Lab, LabError},
    store::StoreError,
};

/// Bytes of something that a learner did.
const LONGEST: usize = 8 << 10;
/// Entries of a run.
const MOST_ENTRIES: u64 = 20_000;

/// Something that is said.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Begin a drill.
    Start {
        /// Which.
        id: String,
        /// What repeats it.
        seed: u64,
    },
    /// Give the next hint.
    Hint,
    /// This is wrong.
    Diagnose(Diagnosis),
    /// It is repaired.
    Submit,
    /// No more.
    GiveUp,
    /// End it, whatever it is doing.
    Abort,
    /// The debrief was read.
    Reset,
    /// The learner did something that somebody has seen.
    Did(Happened),
}

/// Why a command comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// One run at a time.
    #[error("a drill goes on already; end it, or reset the lab, before another one")]
    Busy,
    /// There is nothing to say it to.
    #[error("no drill goes on; `observastack-ctl drill start ID` begins one")]
    NoRun,
    /// There is no such drill.
    #[error("there is no drill `{id}`; there are {}", .known.join(", "))]
    Unknown {
        /// Which.
        id: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The machine cannot do what the drill needs.
    #[error("this machine cannot do `{id}`: {}", .lacks.join("; "))]
    Lacks {
        /// Which drill.
        id: String,
        /// What is not there, and why.
        lacks: Vec<String>,
    },
    /// The lab could not be asked.
    #[error("the lab cannot be asked what it can do: {0}")]
    Lab(#[from] LabError),
    /// Not now.
    #[error(transparent)]
    NotNow(#[from] Refused),
    /// There are no more hints.
    #[error("there are no more hints")]
    NoHint,
    /// Nobody has said yet what is wrong.
    #[error(
        "say what is wrong before you say that it is repaired: `observastack-ctl drill diagnose`"
    )]
    NoDiagnosis,
    /// That is not a learner's to say.
    #[error("this is not something that a learner does")]
    NotLearners,
    /// It is an instructor's.
    #[error("the run that goes on was begun by somebody else")]
    NotTheirs,
    /// More than anybody does.
    #[error("more than {LONGEST} bytes, or more than {MOST_ENTRIES} entries in a run")]
    TooMuch,
    /// The store does not keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<L: Lab> Runner<L> {
    /// Does what is said.
    ///
    /// # Errors
    /// It comes to nothing, in words.
    pub async fn command(
        &mut self,
        now_ms: u64,
        command: Command,
        by: Reader,
    ) -> Result<(), Refusal> {
        self.is_theirs(&command, by)?;
        match command {
            Command::Start { id, seed } => self.start(now_ms, &id, seed, by).await,
            Command::Hint => self.hint(now_ms).await,
            Command::Diagnose(diagnosis) => self.diagnose(now_ms, diagnosis).await,
            Command::Submit => {
                self.in_time(now_ms, Event::Submit).await?;
                let run = self.run.as_ref().ok_or(Refusal::NoRun)?;
                if !run.saved.is_diagnosed {
                    return Err(Refusal::NoDiagnosis);
                }
                self.note(now_ms, Happened::Submitted)?;
                self.event(now_ms, Event::Submit)?;
                Ok(())
            }
            Command::GiveUp => {
                self.on_time(Event::GiveUp)?;
                self.finish(now_ms, Event::GiveUp).await?;
                Ok(())
            }
            Command::Abort => self.say(now_ms, Event::Abort),
            Command::Reset => self.say(now_ms, Event::Reset),
            Command::Did(what) => self.did(now_ms, what).await,
        }
    }

    /// A learner has nothing to say in somebody else's run, whose hints cost nothing of theirs. To begin one while it goes on is refused elsewhere.
    fn is_theirs(&self, command: &Command, by: Reader) -> Result<(), Refusal> {
        let is_others = self
            .run
            .as_ref()
            .is_some_and(|run| run.saved.by == Reader::Teacher);
        match command {
            Command::Start { .. } => Ok(()),
            _ if by == Reader::Learner && is_others => Err(Refusal::NotTheirs),
            _ => Ok(()),
        }
    }

    fn say(&mut self, now_ms: u64, event: Event) -> Result<(), Refusal> {
        self.on_time(event.clone())?;
        self.event(now_ms, event)?;
        Ok(())
    }

    /// Refuses what the phase has no place for, before anything is noted.
    fn on_time(&self, event: Event) -> Result<(), Refusal> {
        let run = self.run.as_ref().ok_or(Refusal::NoRun)?;
        run.saved.life.clone().take(0, event)?;
        Ok(())
    }

    /// Only while the learner's time runs; it may be up since the last slice.
    async fn in_time(&mut self, now_ms: u64, event: Event) -> Result<(), Refusal> {
        if self.phase() == Some(Phase::Investigating) && self.is_time_up(now_ms) {
            self.finish(now_ms, Event::TimeUp).await?;
        }
        self.on_time(event)
    }

    async fn hint(&mut self, now_ms: u64) -> Result<(), Refusal> {
        self.in_time(now_ms, Event::GiveUp).await?;
        let run = self.run.as_mut().ok_or(Refusal::NoRun)?;
        let scenario = run.scenario.clone().ok_or(Refusal::NoRun)?;
        let hint = scenario.sealed.hints.get(run.saved.hints as usize);
        let hint = hint.ok_or(Refusal::NoHint)?;
        run.saved.hints += 1;
        let what = Happened::Hint {
            number: run.saved.hints,
            cost: hint.cost.get(),
            text: hint.text.value.clone(),
        };
        self.note(now_ms, what)?;
        self.keep()?;
        self.trigger(now_ms, LearnerEvent::Hint).await?;
        Ok(())
    }

    async fn diagnose(&mut self, now_ms: u64, diagnosis: Diagnosis) -> Result<(), Refusal> {
        self.in_time(now_ms, Event::GiveUp).await?;
        let run = self.run.as_mut().ok_or(Refusal::NoRun)?;
        run.saved.is_diagnosed = true;
        self.note(now_ms, Happened::Diagnosed { diagnosis })?;
        self.keep()?;
        self.trigger(now_ms, LearnerEvent::Diagnosis).await?;
        Ok(())
    }

    /// Something that a learner was seen to do. Outside of the learner's time it is nobody's business.
    async fn did(&mut self, now_ms: u64, what: Happened) -> Result<(), Refusal> {
        if !matches!(
            what,
            Happened::Command { .. }
                | Happened::Configured { .. }
                | Happened::Unit { .. }
                | Happened::Observed { .. }
        ) {
            return Err(Refusal::NotLearners);
        }
        if serde_json::to_string(&what).map_or(0, |text| text.len()) > LONGEST {
            return Err(Refusal::TooMuch);
        }
        let Some(run) = &self.run else {
            return Ok(());
        };
        if self.store.count(run.id)? >= MOST_ENTRIES {
            return Err(Refusal::TooMuch);
        }
        let phase = self.phase();
        if !matches!(phase, Some(Phase::Investigating | Phase::Verifying)) {
            return Ok(());
        }
        let trigger = match &what {
            Happened::Configured { .. } => Some(LearnerEvent::Config),
            Happened::Unit { .. } => Some(LearnerEvent::Restart),
            _ => None,
        };
        self.note(now_ms, what)?;
        if let Some(trigger) = trigger {
            self.trigger(now_ms, trigger).await?;
        }
        Ok(())
    }

    /// Tells the learner something that is the lab's own.
    pub(super) fn tell(&self, now_ms: u64, text: String) -> Result<(), StoreError> {
        self.note(
            now_ms,
            Happened::Told {
                from: Teller::Alert,
                urgency: Urgency::Info,
                text,
            },
        )
    }
}
