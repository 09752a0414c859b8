//! What a step of a scenario does.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{At, check::Check};
use crate::{
    HumanDuration,
    fault::FaultRequest,
    file::{self, FileError},
    named::Text,
};

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Action {
    /// Begins a load, or another one instead.
    Load(Load),
    /// Changes the rate of the load that runs; nothing is lost.
    Rate(Rate),
    /// Ends the load.
    StopLoad(Nothing),
    /// Changes a service's configuration, as a JSON merge patch (RFC 7396).
    Config(Config),
    /// Restarts a unit, or reloads it where it can be.
    Restart(At<String>),
    /// Injects a fault: the fields of an entry of `observastack-ctl inject -f`, and a name to clear it by.
    Fault(FaultStep),
    /// Ends a fault by its name.
    Clear(At<String>),
    /// Changes the shop's database.
    Sql(Sql),
    /// Brings a file, of a fixed set, into a state.
    File(FileState),
    /// Tells the learner something.
    Notify(Notify),
    /// Gives a hint, by its number from 1, without a cost.
    Hint(At<u32>),
    /// Goes on with this step only once something holds.
    Check(Wait),
}

/// Nothing more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A load.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Load {
    /// A shape that the load generator knows by this name.
    pub shape: At<String>,
    /// Journeys a second, instead of the shape's own; it holds until something else is said.
    #[serde(default)]
    pub rate: Option<At<f64>>,
}

/// Another rate.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rate {
    /// Journeys a second.
    pub per_second: At<f64>,
    /// Evenly over so long, from what it is; at once if left out.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub over: Option<At<HumanDuration>>,
}

/// A change of configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// `gateway`, `inventory`, `worker`, `api@1`, `api@2`, or `api` for both.
    pub service: At<String>,
    /// Fields by their paths (`upstreams.0.weight`) or as a tree.
    pub set: At<BTreeMap<String, Value>>,
}

/// A fault, and its name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FaultStep {
    /// How other steps and checks call it. Learners never see it.
    pub name: At<String>,
    /// The fields of the fault, as in `observastack-ctl inject -f`: `unit`, `fault`, its own, and `for`, which is as long as the drill if left out.
    pub with: BTreeMap<String, At<Words>>,
}

impl FaultStep {
    /// What the injector is asked for; `whole` is how long the drill takes, for a fault that does not say how long it holds.
    ///
    /// # Errors
    /// Everything that is wrong with it, where it stands.
    pub fn request(&self, whole: Option<HumanDuration>) -> Result<FaultRequest, Vec<FileError>> {
        let mut fields: Vec<file::PlacedField> = self
            .with
            .iter()
            .map(|(name, words)| (name.clone(), words.place(), words.value.text()))
            .collect();
        if !self.with.contains_key("for") {
            let held = whole.unwrap_or(HumanDuration::from_millis(60_000));
            fields.push((
                "for".to_owned(),
                self.name.place(),
                Text::One(held.to_string()),
            ));
        }
        let request = file::fault(self.name.place(), fields)?;
        Ok(FaultRequest {
            covert: true,
            ..request
        })
    }
}

impl Words {
    fn text(&self) -> Text {
        match self {
            Self::Truth(is) => Text::One(is.to_string()),
            Self::Number(number) => Text::One(number.to_string()),
            Self::Fraction(number) => Text::One(number.to_string()),
            Self::One(text) => Text::One(text.clone()),
            Self::Many(texts) => Text::Many(texts.clone()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(Load { shape, rate: None }) => write!(out, "load {}", shape.value),
            Self::Load(Load {
                shape,
                rate: Some(rate),
            }) => write!(out, "load {} at {}/s", shape.value, rate.value),
            Self::Rate(Rate { per_second, over }) => {
                write!(out, "load at {}/s", per_second.value)?;
                match over {
                    Some(over) => write!(out, ", evenly over {}", over.value),
                    None => Ok(()),
                }
            }
            Self::StopLoad(_) => out.write_str("stop the load"),
            Self::Config(Config { service, set }) => {
                write!(out, "config {}:", service.value)?;
                for (field, value) in &set.value {
                    write!(out, " {field}={value}")?;
                }
                Ok(())
            }
            Self::Restart(unit) => write!(out, "restart {}", unit.value),
            Self::Fault(FaultStep { name, with }) => {
                write!(out, "fault {}:", name.value)?;
                for (field, words) in with {
                    match words.value.text() {
                        Text::One(text) => write!(out, " {field}={text}")?,
                        Text::Many(texts) => write!(out, " {field}={}", texts.join(","))?,
                    }
                }
                Ok(())
            }
            Self::Clear(name) => write!(out, "clear {}", name.value),
            Self::Sql(Sql {
                statements, hold, ..
            }) => {
                let kept = if *hold { ", and keep the session" } else { "" };
                write!(out, "sql {}{kept}", line(statements))
            }
            Self::File(FileState { file, state }) => {
                write!(out, "file {file:?} is {}", state.value)
            }
            Self::Notify(Notify { from, text, .. }) => {
                write!(out, "{from:?} says: {}", line(text))
            }
            Self::Hint(number) => write!(out, "hint {}", number.value),
            Self::Check(Wait { that, within }) => {
                write!(out, "wait, {within} at most, until")?;
                for (number, check) in that.iter().enumerate() {
                    let and = if number == 0 { " " } else { " and " };
                    write!(out, "{and}{check}")?;
                }
                Ok(())
            }
        }
    }
}

/// On one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One word, number or yes and no, or a list of words.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Words {
    /// `true` or `false`.
    Truth(bool),
    /// A number.
    Number(u64),
    /// A share.
    Fraction(f64),
    /// A text.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// A change of the database.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sql {
    /// What is done: statements, as the owner of the shop's tables.
    #[serde(rename = "do")]
    pub statements: At<String>,
    /// What takes it back, whatever the learner has done meanwhile: it must not fail where there is nothing to take back.
    pub undo: At<String>,
    /// Keep the session, with the transaction that the statements have begun, open until the drill ends.
    #[serde(default)]
    pub hold: bool,
}

/// A file of a fixed set.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileState {
    /// Which.
    pub file: KnownFile,
    /// The state that it is brought into.
    pub state: At<String>,
}

/// Files that a scenario may change.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum KnownFile {
    /// The API servers' copy of their database password: `current` or `stale`.
    ApiDatabasePassword,
    /// The template of the sales report: `present` or `missing`.
    ReportTemplate,
}

impl KnownFile {
    /// The states that it can be brought into; the first one is the healthy one.
    #[must_use]
    pub const fn states(self) -> &'static [&'static str] {
        match self {
            Self::ApiDatabasePassword => &["current", "stale"],
            Self::ReportTemplate => &["present", "missing"],
        }
    }
}

/// Something that a learner is told.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Notify {
    /// Who says so.
    pub from: Teller,
    /// How urgent it is.
    #[serde(default)]
    pub urgency: Urgency,
    /// The words.
    pub text: At<String>,
}

/// Who tells something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Teller {
    /// Somebody who uses the shop.
    User,
    /// Somebody whom the incident matters to.
    Stakeholder,
    /// A monitoring system.
    Alert,
    /// A colleague.
    Colleague,
}

/// How urgent it is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// For information.
    #[default]
    Info,
    /// Soon.
    Warning,
    /// Now.
    Critical,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wait {
    /// What must hold.
    pub that: At<Vec<Check>>,
    /// How long it may take; the drill has failed to break what it should, otherwise.
    #[schemars(with = "String")]
    pub within: HumanDuration,
}
