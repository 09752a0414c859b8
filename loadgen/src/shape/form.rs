//! A shape as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::scalar::{Percentage, Time};

/// A text, and where it is.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) target: Option<Text>,
    #[serde(default = "seed")]
    pub(super) seed: u64,
    pub(super) arrivals: Option<Spanned<Arrivals>>,
    pub(super) users: Option<Spanned<Users>>,
    pub(super) connections: Option<Spanned<u32>>,
    #[serde(default = "yes")]
    pub(super) keep_alive: bool,
    pub(super) timeout: Option<Time>,
    #[serde(default)]
    pub(super) traced: Percentage,
    pub(super) drill: Option<Text>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Text>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Spanned<Variable>>,
    pub(super) journeys: Spanned<Vec<Journey>>,
    #[serde(default)]
    pub(super) thresholds: Vec<Text>,
}

fn seed() -> u64 {
    1
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrivals {
    #[serde(default)]
    pub(super) stages: Vec<Text>,
    /// Lines of `at_s,rate`.
    pub(super) replay: Option<Text>,
    #[serde(default)]
    pub(super) spacing: Spacing,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Spacing {
    #[default]
    Even,
    Poisson,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Users {
    pub(super) count: Spanned<u32>,
    pub(super) think: Option<Time>,
    pub(super) r#for: Time,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variable {
    pub(super) pick: Option<Vec<String>>,
    pub(super) between: Option<[u64; 2]>,
    pub(super) prefix: Option<String>,
    pub(super) digits: Option<usize>,
    pub(super) skew: Option<f64>,
    #[serde(default)]
    pub(super) number: bool,
    #[serde(default)]
    pub(super) uuid: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journey {
    pub(super) name: Text,
    pub(super) weight: Option<Spanned<f64>>,
    pub(super) keep_alive: Option<bool>,
    pub(super) retry: Option<Retry>,
    pub(super) steps: Spanned<Vec<Spanned<Step>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) name: Option<String>,
    pub(super) get: Option<Text>,
    pub(super) head: Option<Text>,
    pub(super) post: Option<Text>,
    pub(super) put: Option<Text>,
    pub(super) patch: Option<Text>,
    pub(super) delete: Option<Text>,
    pub(super) raw: Option<Text>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Text>,
    pub(super) body: Option<Text>,
    pub(super) json: Option<Spanned<serde_json::Value>>,
    #[serde(default)]
    pub(super) status: Vec<Spanned<u16>>,
    pub(super) check: Option<Check>,
    #[serde(default)]
    pub(super) extract: BTreeMap<String, Spanned<Extract>>,
    pub(super) timeout: Option<Time>,
    pub(super) retry: Option<Retry>,
    pub(super) pause: Option<Time>,
    pub(super) slowly: Option<Spanned<Slowly>>,
    pub(super) abandon: Option<Time>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    pub(super) contains: Option<String>,
    #[serde(default)]
    pub(super) json: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extract {
    pub(super) json: Option<String>,
    pub(super) header: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    pub(super) attempts: Spanned<u32>,
    pub(super) wait: Option<Time>,
    pub(super) factor: Option<Spanned<f64>>,
    pub(super) longest: Option<Time>,
    #[serde(default)]
    pub(super) jitter: bool,
    pub(super) status: Option<Vec<u16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slowly {
    pub(super) bytes: usize,
    pub(super) every: Time,
}
