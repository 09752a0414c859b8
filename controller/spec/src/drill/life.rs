//! The life of a run: which state follows which event, and what has to be done then.
//!
//! ```text
//! preparing ──baseline holds──> breaking ──it is broken──> investigating <──does not hold── verifying
//!     │                            │                          │      └──────submitted─────────┘ │
//!     └── does not ──┐             └── is not ──┐             │ gave up, time up      holds to the end
//!                    v                          v             v                                 v
//!                 resetting <──────────── aborted, at any moment                            debrief
//!                    └──the baseline is verified──> closed <──────────── resetting <── reset ──┘
//! ```
//!
//! A run is never half: whatever happens, it goes on or the lab goes back to its baseline, and only a baseline that was verified closes a run.

use serde::{Deserialize, Serialize};

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The lab is brought to its baseline, the load begins, and the baseline is checked.
    Preparing,
    /// The steps are done, until it is broken where users notice.
    Breaking,
    /// The learner's time.
    Investigating,
    /// The learner says that it is repaired: it has to hold.
    Verifying,
    /// Everything is told; the lab is as the learner has left it.
    Debrief,
    /// The lab goes back to its baseline.
    Resetting,
    /// It is over.
    Closed,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It held.
    Repaired,
    /// The learner did not want to go on.
    GaveUp,
    /// The learner's time was up.
    TimeUp,
    /// Somebody ended it.
    Aborted,
    /// The lab could not do its part; that is nobody's score.
    LabError {
        /// What it could not do.
        reason: String,
    },
}

/// Something that happens to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The baseline was seen to hold.
    BaselineHolds,
    /// What was to be broken is.
    Broken,
    /// The lab could not do what it was told to.
    Failed {
        /// What, in words.
        reason: String,
    },
    /// What shows a repair holds since now.
    Holds,
    /// It does not any more.
    HoldsNoMore,
    /// It does not at the moment, soon after it was announced: what is measured looks back to before the repair.
    Wavers,
    /// It held for as long as it has to.
    HeldToTheEnd,
    /// The learner says that it is repaired.
    Submit,
    /// The learner does not want to go on.
    GiveUp,
    /// The learner's time is up.
    TimeUp,
    /// Somebody ends it.
    Abort,
    /// The debrief was read: the lab may go back.
    Reset,
    /// The lab is at its baseline, verified.
    ResetDone,
    /// The controller has begun anew.
    ControllerRestarted {
        /// Whether the machine has, too: then no fault is in force any more.
        rebooted: bool,
    },
}

/// Something that has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Bring the lab to its baseline, begin the load, check the baseline.
    Prepare,
    /// Do the steps, and look whether it is broken.
    Break,
    /// Watch whether what shows a repair holds.
    Watch,
    /// Do once more what is done once more, and see whether it holds to the end.
    Verify,
    /// Tell everything.
    Debrief,
    /// End everything that was done, and bring the lab to its baseline.
    Reset,
}

/// An event that a phase has no place for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", words(.phase, .event))]
pub struct Refused {
    /// Where the run was.
    pub phase: Phase,
    /// What came.
    pub event: Event,
}

fn words(phase: &Phase, event: &Event) -> String {
    let phase = match phase {
        Phase::Preparing => "the lab is still being prepared",
        Phase::Breaking => "the incident has not begun yet",
        Phase::Investigating => "the incident goes on",
        Phase::Verifying => "the repair is being checked",
        Phase::Debrief => "the incident is over; read the report, or reset the lab",
        Phase::Resetting => "the lab goes back to its baseline",
        Phase::Closed => "the drill is over",
    };
    match event {
        Event::Submit | Event::GiveUp | Event::Abort | Event::Reset => phase.to_owned(),
        event => format!("{phase}, so this comes to nothing: {event:?}"),
    }
}

/// Moments of a run, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    /// It was begun.
    pub began: u64,
    /// It was broken: the learner's time began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<u64>,
    /// What shows a repair holds since then, without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_since: Option<u64>,
    /// The learner's time ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Where it is.
    pub phase: Phase,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// When.
    pub moments: Moments,
    /// How often the learner has said that it is repaired.
    pub submissions: u32,
}

impl Life {
    /// A run that begins, and what has to be done.
    #[must_use]
    pub fn begin(at_ms: u64) -> (Self, Effect) {
        let life = Self {
            phase: Phase::Preparing,
            outcome: None,
            moments: Moments {
                began: at_ms,
                ..Moments::default()
            },
            submissions: 0,
        };
        (life, Effect::Prepare)
    }

    /// Whether another drill may begin.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Takes an event; what has to be done now, if anything. An event that is refused changes nothing.
    ///
    /// # Errors
    /// The phase has no place for it.
    pub fn take(&mut self, at_ms: u64, event: Event) -> Result<Option<Effect>, Refused> {
        use Phase::{Breaking, Closed, Debrief, Investigating, Preparing, Resetting, Verifying};

        let effect = match (self.phase, &event) {
            (Preparing, Event::BaselineHolds) => self.go(Breaking, Some(Effect::Break)),
            (Breaking, Event::Broken) => {
                self.moments.broken = Some(at_ms);
                self.go(Investigating, Some(Effect::Watch))
            }
            (Investigating, Event::Submit) => {
                self.submissions += 1;
                self.go(Verifying, Some(Effect::Verify))
            }
            (Investigating | Verifying, Event::Holds) => {
                // Since when it does without a break: the first one counts.
                self.moments.holds_since.get_or_insert(at_ms);
                None
            }
            (Investigating, Event::HoldsNoMore) | (Verifying, Event::Wavers) => {
                self.moments.holds_since = None;
                None
            }
            (Verifying, Event::HoldsNoMore) => {
                self.moments.holds_since = None;
                self.go(Investigating, Some(Effect::Watch))
            }
            (Verifying, Event::HeldToTheEnd) => self.end(at_ms, Outcome::Repaired),
            // Whoever has submitted in time is judged by what holds.
            (Investigating, Event::TimeUp) => self.end(at_ms, Outcome::TimeUp),
            (Investigating | Verifying, Event::GiveUp) => self.end(at_ms, Outcome::GaveUp),
            (Preparing | Breaking | Investigating | Verifying, Event::Abort) => {
                self.fail(at_ms, Outcome::Aborted)
            }
            (Preparing | Breaking | Investigating | Verifying, Event::Failed { reason }) => {
                let reason = reason.clone();
                self.fail(at_ms, Outcome::LabError { reason })
            }
            // It is tried again, and said.
            (Resetting, Event::Failed { .. }) => Some(Effect::Reset),
            (Debrief, Event::Reset | Event::Abort) => self.go(Resetting, Some(Effect::Reset)),
            (Resetting, Event::ResetDone) => self.go(Closed, None),
            (phase, Event::ControllerRestarted { rebooted }) => {
                self.resume(at_ms, phase, *rebooted)
            }
            (phase, _) => return Err(Refused { phase, event }),
        };
        Ok(effect)
    }

    fn go(&mut self, phase: Phase, effect: Option<Effect>) -> Option<Effect> {
        self.phase = phase;
        effect
    }

    fn end(&mut self, at_ms: u64, outcome: Outcome) -> Option<Effect> {
        self.outcome = Some(outcome);
        self.moments.ended = Some(at_ms);
        self.go(Phase::Debrief, Some(Effect::Debrief))
    }

    /// There is nothing to tell.
    fn fail(&mut self, at_ms: u64, outcome: Outcome) -> Option<Effect> {
        self.outcome = Some(outcome);
        self.moments.ended = Some(at_ms);
        self.go(Phase::Resetting, Some(Effect::Reset))
    }

    /// Nobody knows how far a controller came with what it was doing: that is begun again, or taken back.
    fn resume(&mut self, at_ms: u64, phase: Phase, rebooted: bool) -> Option<Effect> {
        let lost = |reason: &str| Outcome::LabError {
            reason: reason.to_owned(),
        };
        match phase {
            Phase::Preparing => Some(Effect::Prepare),
            Phase::Breaking => {
                self.fail(at_ms, lost("the controller was restarted during the break"))
            }
            Phase::Investigating | Phase::Verifying if rebooted => self.fail(
                at_ms,
                lost("the machine was restarted, and what was broken with it"),
            ),
            Phase::Investigating | Phase::Verifying => {
                // Nobody has watched meanwhile, and a submission that was not looked at to the end was none.
                self.moments.holds_since = None;
                if phase == Phase::Verifying {
                    self.submissions = self.submissions.saturating_sub(1);
                }
                self.go(Phase::Investigating, Some(Effect::Watch))
            }
            Phase::Debrief => Some(Effect::Debrief),
            Phase::Resetting => Some(Effect::Reset),
            Phase::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(events: &[Event]) -> (Life, Vec<Effect>) {
        let (mut life, first) = Life::begin(0);
        let mut effects = vec![first];
        for (at_ms, event) in (1..).zip(events) {
            effects.extend(life.take(at_ms * 1000, event.clone()).unwrap());
        }
        (life, effects)
    }

    const BROKEN: [Event; 2] = [Event::BaselineHolds, Event::Broken];

    #[test]
    fn a_repair_that_holds_is_told_and_the_lab_goes_back() {
        let (life, effects) = run(&[
            &BROKEN[..],
            &[
                Event::Holds,
                Event::Submit,
                Event::HeldToTheEnd,
                Event::Reset,
                Event::ResetDone,
            ],
        ]
        .concat());
        assert_eq!(life.outcome, Some(Outcome::Repaired));
        assert_eq!(life.phase, Phase::Closed);
        assert_eq!(
            (
                life.moments.broken,
                life.moments.holds_since,
                life.moments.ended
            ),
            (Some(2000), Some(3000), Some(5000))
        );
        assert_eq!(
            effects,
            [
                Effect::Prepare,
                Effect::Break,
                Effect::Watch,
                Effect::Verify,
                Effect::Debrief,
                Effect::Reset
            ]
        );
    }

    #[test]
    fn a_repair_that_does_not_hold_is_none_and_the_time_goes_on() {
        let (mut life, _) = run(&[
            &BROKEN[..],
            &[Event::Holds, Event::Submit, Event::HoldsNoMore],
        ]
        .concat());
        assert_eq!((life.phase, life.submissions), (Phase::Investigating, 1));
        assert_eq!(life.moments.holds_since, None);
        assert_eq!(
            life.take(9000, Event::TimeUp).unwrap(),
            Some(Effect::Debrief)
        );
        assert_eq!(life.outcome, Some(Outcome::TimeUp));
    }

    #[test]
    fn a_repair_that_settles_holds_since_it_has_settled() {
        let (life, _) = run(&[
            &BROKEN[..],
            &[
                Event::Submit,
                Event::Holds,
                Event::Wavers,
                Event::Holds,
                Event::HeldToTheEnd,
            ],
        ]
        .concat());
        assert_eq!(life.outcome, Some(Outcome::Repaired));
        let (holds_since, ended) = (life.moments.holds_since, life.moments.ended);
        assert_eq!(ended.unwrap() - holds_since.unwrap(), 1_000);
    }

    #[test]
    fn what_a_phase_has_no_place_for_is_refused_in_words_and_changes_nothing() {
        let (mut life, _) = Life::begin(0);
        let before = life.clone();
        let refused = life.take(1, Event::Submit).unwrap_err();
        assert_eq!(refused.to_string(), "the lab is still being prepared");
        assert_eq!(life, before);
        let (mut life, _) = run(&[&BROKEN[..], &[Event::GiveUp]].concat());
        let refused = life.take(9, Event::Submit).unwrap_err();
        assert!(refused.to_string().contains("read the report"), "{refused}");
    }

    #[test]
    fn a_controller_that_begins_anew_goes_on_or_goes_back() {
        let restarted = |rebooted| Event::ControllerRestarted { rebooted };
        for (events, rebooted, phase, effect) in [
            (vec![], true, Phase::Preparing, Some(Effect::Prepare)),
            (
                BROKEN[..1].to_vec(),
                false,
                Phase::Resetting,
                Some(Effect::Reset),
            ),
            (
                BROKEN.to_vec(),
                false,
                Phase::Investigating,
                Some(Effect::Watch),
            ),
            (BROKEN.to_vec(), true, Phase::Resetting, Some(Effect::Reset)),
            (
                [&BROKEN[..], &[Event::Submit]].concat(),
                false,
                Phase::Investigating,
                Some(Effect::Watch),
            ),
            (
                [&BROKEN[..], &[Event::GiveUp]].concat(),
                true,
                Phase::Debrief,
                Some(Effect::Debrief),
            ),
            (
                vec![Event::Abort],
                false,
                Phase::Resetting,
                Some(Effect::Reset),
            ),
        ] {
            let (mut life, _) = run(&events);
            assert_eq!(life.take(9000, restarted(rebooted)).unwrap(), effect);
            assert_eq!(life.phase, phase, "{events:?}");
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::BaselineHolds),
            Just(Event::Broken),
            Just(Event::Failed {
                reason: "it did not".to_owned()
            }),
            Just(Event::Holds),
            Just(Event::HoldsNoMore),
            Just(Event::Wavers),
            Just(Event::HeldToTheEnd),
            Just(Event::Submit),
            Just(Event::GiveUp),
            Just(Event::TimeUp),
            Just(Event::Abort),
            Just(Event::Reset),
            Just(Event::ResetDone),
            any::<bool>().prop_map(|rebooted| Event::ControllerRestarted { rebooted }),
        ]
    }

    proptest! {
        /// Whatever happens: a lab that may be broken is only ever left by a reset, and only a verified one closes the run.
        #[test]
        fn a_run_is_never_half(events in proptest::collection::vec(event(), 0..60)) {
            let (mut life, _) = Life::begin(0);
            let (mut is_dirty, mut closed_at) = (false, None);
            for (at_ms, event) in (1..).zip(events) {
                let before = life.phase;
                let effect = life.take(at_ms, event.clone());
                prop_assert!(effect.is_ok() || life.phase == before);
                is_dirty |= effect == Ok(Some(Effect::Break));
                if before == Phase::Resetting && life.phase == Phase::Closed {
                    prop_assert_eq!(&event, &Event::ResetDone);
                    is_dirty = false;
                }
                if life.phase == Phase::Closed {
                    prop_assert!(!is_dirty);
                    closed_at.get_or_insert(at_ms);
                } else {
                    prop_assert!(closed_at.is_none(), "a closed run has come back");
                }
                // There is an outcome from the end of the learner's time on, and it stays.
                let ended = matches!(life.phase, Phase::Debrief | Phase::Resetting | Phase::Closed);
                prop_assert_eq!(life.outcome.is_some(), ended);
                prop_assert_eq!(life.moments.ended.is_some(), ended);
                if life.outcome == Some(Outcome::Repaired) {
                    prop_assert!(life.submissions > 0 && life.moments.broken.is_some());
                }
            }
        }

        /// From anywhere, an abort and what follows it leads to a closed run.
        #[test]
        fn an_abort_leads_back_from_anywhere(events in proptest::collection::vec(event(), 0..30)) {
            let (mut life, _) = Life::begin(0);
            for (at_ms, event) in (1..).zip(events) {
                let _ = life.take(at_ms, event);
            }
            let _ = life.take(100, Event::Abort);
            let _ = life.take(101, Event::ResetDone);
            prop_assert!(life.is_over(), "{:?}", life.phase);
        }
    }
}
