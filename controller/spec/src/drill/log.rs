//! Everything that happens in a run, in one list: what the lab does, what the learner does, what is seen.

use serde::{Deserialize, Serialize};

use super::life::{Outcome, Phase};
use crate::scenario::{
    action::{Teller, Urgency},
    answer::{Diagnosis, Points},
    sealed::Shortcut,
};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in this run, from 1, without gaps: who has seen one knows what to ask for next.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Happened {
    /// The run is somewhere else now.
    Phase {
        /// Where.
        phase: Phase,
    },
    /// Somebody tells the learner something.
    Told {
        /// Who.
        from: Teller,
        /// How urgent it is.
        urgency: Urgency,
        /// The words.
        text: String,
    },
    /// The lab did a step; the learner must not know.
    Did {
        /// What, as a plan says it.
        action: String,
        /// Whether it has nothing to do with what is wrong.
        is_noise: bool,
    },
    /// A check was looked at, and its answer is another one than before.
    Checked {
        /// Which.
        check: String,
        /// Whether it holds.
        holds: bool,
        /// What was found.
        found: String,
    },
    /// The learner ran a command.
    Command {
        /// As it was typed.
        line: String,
        /// Its exit code, where it has ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
    },
    /// The learner changed a service's configuration.
    Configured {
        /// Whose.
        service: String,
        /// Which fields.
        fields: Vec<String>,
    },
    /// The learner did something to a unit.
    Unit {
        /// Which.
        unit: String,
        /// `restart`, `start` or `stop`.
        verb: String,
    },
    /// The learner looked at a signal of the kernel's.
    Observed {
        /// Which, by its name in the catalogue.
        signal: String,
        /// Of whom.
        unit: String,
    },
    /// The learner took a hint.
    Hint {
        /// Which, from 1.
        number: u32,
        /// Which share of the score it costs.
        cost: f64,
        /// The words.
        text: String,
    },
    /// The learner said what is wrong; the last one counts.
    Diagnosed {
        /// What.
        diagnosis: Diagnosis,
    },
    /// The learner said that it is repaired.
    Submitted,
    /// That did not hold.
    NotRepaired {
        /// What did not.
        check: String,
    },
    /// Something was done that makes figures good and users none the happier.
    Shortcut {
        /// What.
        shortcut: Shortcut,
        /// How it was noticed.
        found: String,
    },
    /// It is over.
    Ended {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// What the diagnosis earned; told in the debrief.
    Graded {
        /// By part.
        points: Points,
    },
}

impl Happened {
    /// Whether a learner may know it while the run goes on.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        !matches!(
            self,
            Self::Did { .. } | Self::Shortcut { .. } | Self::Graded { .. }
        )
    }

    /// Whether a learner has done it.
    #[must_use]
    pub const fn is_learners(&self) -> bool {
        matches!(
            self,
            Self::Command { .. }
                | Self::Configured { .. }
                | Self::Unit { .. }
                | Self::Observed { .. }
                | Self::Hint { .. }
                | Self::Diagnosed { .. }
                | Self::Submitted
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_json_and_its_kind_is_one_word() {
        let entry = Entry {
            number: 3,
            at_ms: 1000,
            what: Happened::Ended {
                outcome: Outcome::LabError {
                    reason: "no load".to_owned(),
                },
            },
        };
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            text,
            r#"{"number":3,"at_ms":1000,"what":"ended","outcome":"lab-error","reason":"no load"}"#
        );
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
    }

    #[test]
    fn what_gives_the_answer_away_is_not_public() {
        let did = Happened::Did {
            action: "fault x".to_owned(),
            is_noise: false,
        };
        assert!(!did.is_public() && !did.is_learners());
        assert!(Happened::Submitted.is_public() && Happened::Submitted.is_learners());
    }
}
