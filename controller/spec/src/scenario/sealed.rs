//! `sealed.yaml`: what happens in a drill, what is wrong, and how that is judged. Nobody who takes the drill may read it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    At,
    action::{Action, Config, Load},
    answer::{Answer, Diagnosis},
    check::{Check, Share},
};
use crate::HumanDuration;

/// What only the lab knows.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sealed {
    /// The drill that this belongs to: the other file's `id`.
    pub scenario: At<String>,
    /// The load that runs from before the break to the end.
    pub load: Load,
    /// What holds before anything is broken.
    pub baseline: At<Vec<Check>>,
    /// What is done, from the moment that the baseline was seen to hold.
    pub steps: At<Vec<Step>>,
    /// What else happens, to be told from what matters.
    #[serde(default)]
    pub noise: Vec<Noise>,
    /// What shows that it is broken. The learner's time begins when it holds.
    pub broken: Broken,
    /// What is wrong.
    pub answer: Answer,
    /// What shows that it is repaired.
    pub repaired: Repaired,
    /// Shortcuts that are a repair here, of those that never are otherwise.
    #[serde(default)]
    pub allowed: Vec<Shortcut>,
    /// What a learner can ask for, in this order.
    pub hints: At<Vec<Hint>>,
    /// A solution.
    pub reference: Solution,
    /// Repairs that look right and are not, each with why.
    pub bad_fixes: At<BTreeMap<String, BadFix>>,
    /// What is told afterwards.
    pub debrief: Debrief,
}

/// A step: when, and what. One of `at`, `when` and `on` says when.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// So long after the baseline was seen to hold.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub at: Option<At<HumanDuration>>,
    /// Later by up to so much, as the seed has it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub jitter: Option<HumanDuration>,
    /// Once a check holds.
    #[serde(default)]
    pub when: Option<At<Check>>,
    /// Once the learner does something.
    #[serde(default)]
    pub on: Option<LearnerEvent>,
    /// What is done.
    #[serde(rename = "do")]
    pub action: At<Action>,
}

/// Something that a learner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LearnerEvent {
    /// Changes a service's configuration.
    Config,
    /// Restarts a unit.
    Restart,
    /// Asks for a hint.
    Hint,
    /// Says what is wrong.
    Diagnosis,
}

/// Something that happens now and then, as the seed has it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Noise {
    /// Again after at least so long, and at most as long again.
    #[schemars(with = "String")]
    pub every: At<HumanDuration>,
    /// What.
    #[serde(rename = "do")]
    pub action: At<Action>,
}

/// What shows that it is broken.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Broken {
    /// What holds then. Nothing may, where the drill is that nothing is wrong.
    pub that: At<Vec<Check>>,
    /// How soon, after the last step with a time.
    #[schemars(with = "String")]
    pub within: HumanDuration,
}

/// What shows that it is repaired.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Repaired {
    /// What holds then, under the load.
    pub that: At<Vec<Check>>,
    /// For how long without a break.
    #[schemars(with = "String")]
    pub hold: At<HumanDuration>,
    /// What is done once more while that is watched: a repair that only waited for the trigger to end does not stand it.
    #[serde(default)]
    pub replay: Vec<At<Action>>,
}

/// What makes figures good and users none the happier.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Shortcut {
    /// Requests are refused, or the gateway limits them.
    TrafficShed,
    /// A unit of the shop was stopped, and is.
    UnitStopped,
    /// The load does not run as it should.
    LoadStopped,
    /// A time limit was raised beyond what a user waits.
    TimeoutRaised,
    /// What would show it is off.
    TelemetryOff,
}

impl Shortcut {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::TrafficShed,
        Self::UnitStopped,
        Self::LoadStopped,
        Self::TimeoutRaised,
        Self::TelemetryOff,
    ];
}

/// Something that helps.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hint {
    /// Which share of the score it costs.
    pub cost: At<Share>,
    /// The words.
    pub text: At<String>,
}

/// A repair, and what its author says is wrong.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Solution {
    /// What is done, one after the other.
    pub repair: Vec<At<Repair>>,
    /// What is wrong.
    pub diagnosis: At<Diagnosis>,
}

/// A repair that is none.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BadFix {
    /// What is done.
    pub repair: At<Vec<At<Repair>>>,
    /// Why that is none.
    pub why: At<String>,
}

/// One thing that a learner, and so a solution, can do.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Repair {
    /// Change a service's configuration.
    Config(Config),
    /// Restart a unit.
    Restart(At<String>),
    /// Start a unit.
    Start(At<String>),
    /// Stop a unit.
    Stop(At<String>),
    /// Run statements in the shop's database.
    Sql(At<String>),
    /// Run a command with the learner's rights.
    Shell(At<String>),
    /// Do nothing for a while.
    Wait(#[schemars(with = "String")] HumanDuration),
}

impl Repair {
    /// The unit or service that it touches, by its short name.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Config(config) => Some(&config.service),
            Self::Restart(unit) | Self::Start(unit) | Self::Stop(unit) => Some(unit),
            Self::Sql(_) => Some("postgresql"),
            Self::Shell(_) | Self::Wait(_) => None,
        }
    }
}

/// What is told afterwards.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Debrief {
    /// What was wrong, and how it came to what users saw.
    pub explanation: At<String>,
    /// The way from the first symptom to the cause, step by step.
    pub path: At<Vec<String>>,
    /// What the kernel saw, and how to look at it.
    pub kernel: At<String>,
    /// How to prevent it.
    pub prevention: At<String>,
    /// How to notice it sooner.
    pub monitoring: At<String>,
}
