//! What must hold: before a drill, once it is broken, and once it is repaired.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use crate::{HumanDuration, ValueError};

/// One thing that must hold. The same kinds tell a healthy lab, a broken one and a repaired one.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Check {
    /// Which share of the requests that were due was answered well and in time, as the load generator has it: what was never sent counts as bad.
    Goodput(ShareBound),
    /// Which share of the answers were errors.
    Errors(ShareBound),
    /// How long answers took.
    Latency(LatencyBound),
    /// What Prometheus answers.
    Promql(PromqlBound),
    /// What the shop's database answers: one value, as text.
    Sql(SqlValue),
    /// What the gateway answers.
    Http(HttpAnswer),
    /// A fault of the steps, by its name, has acted on something.
    Acted(At<String>),
    /// A unit is active.
    Active(At<String>),
}

impl Check {
    /// Whether a learner may know it: what users notice gives nothing away, a query may be the answer.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        matches!(
            self,
            Self::Goodput(_) | Self::Errors(_) | Self::Latency(_) | Self::Http(_)
        )
    }
}

/// A share, bounded on one side at least.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ShareBound {
    /// Less than this.
    #[serde(default)]
    pub below: Option<At<Share>>,
    /// This, or more.
    #[serde(default)]
    pub at_least: Option<At<Share>>,
}

impl ShareBound {
    /// Whether a share is within it.
    #[must_use]
    pub fn holds(&self, share: f64) -> bool {
        let below = self.below.as_ref().is_none_or(|most| share < most.get());
        let above = self
            .at_least
            .as_ref()
            .is_none_or(|least| share >= least.get());
        below && above
    }
}

/// A time, bounded on one side at least.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LatencyBound {
    /// Which part of the answers: 0.5, 0.99.
    pub quantile: At<f64>,
    /// Less than this.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub below: Option<At<HumanDuration>>,
    /// This, or more.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub at_least: Option<At<HumanDuration>>,
}

/// A number that Prometheus knows, bounded on one side at least.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PromqlBound {
    /// The expression. Where it gives more than one value, each must hold; where it gives none, it doesn't.
    pub query: At<String>,
    /// Less than this.
    #[serde(default)]
    pub below: Option<At<f64>>,
    /// This, or more.
    #[serde(default)]
    pub at_least: Option<At<f64>>,
}

/// A value of the database.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SqlValue {
    /// A query with one row of one column.
    pub query: At<String>,
    /// What that is.
    pub equals: At<String>,
}

/// An answer of the gateway.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpAnswer {
    /// The path that is asked for.
    pub get: At<String>,
    /// The answer's status.
    pub status: At<u16>,
    /// How long it may take.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub within: Option<HumanDuration>,
}

/// A part of a whole, written as `99.5%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(f64);

impl Share {
    /// Between 0 and 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok())
            .filter(|percents| (0.0..=100.0).contains(percents))
            .map(|percents| Self(percents / 100.0))
            .ok_or_else(|| ValueError::new(text, "a share from 0% to 100%, such as 99.5%"))
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error: ValueError| format!("`{text}` is not allowed; {error}"))
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not more digits than were written, whatever 99.7 / 100 * 100 is.
        let percents = (self.0 * 1e8).round() / 1e6;
        write!(out, "{percents}%")
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?\s*%$",
            "examples": ["99.5%"]
        })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodput(bound) => write!(out, "goodput{bound}"),
            Self::Errors(bound) => write!(out, "errors{bound}"),
            Self::Latency(bound) => {
                write!(out, "latency p{}", *bound.quantile * 100.0)?;
                sides(out, bound.below.as_ref(), bound.at_least.as_ref())
            }
            Self::Promql(bound) => {
                write!(out, "`{}`", *bound.query)?;
                sides(out, bound.below.as_ref(), bound.at_least.as_ref())
            }
            Self::Sql(value) => write!(out, "`{}` is {}", *value.query, *value.equals),
            Self::Http(answer) => {
                write!(out, "GET {} answers {}", *answer.get, *answer.status)?;
                match answer.within {
                    Some(within) => write!(out, " within {within}"),
                    None => Ok(()),
                }
            }
            Self::Acted(name) => write!(out, "the fault {} has acted", name.value),
            Self::Active(unit) => write!(out, "{} is active", unit.value),
        }
    }
}

impl fmt::Display for ShareBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        sides(out, self.below.as_ref(), self.at_least.as_ref())
    }
}

fn sides<T: fmt::Display>(
    out: &mut fmt::Formatter<'_>,
    below: Option<&At<T>>,
    at_least: Option<&At<T>>,
) -> fmt::Result {
    match (at_least, below) {
        (Some(low), Some(high)) => write!(out, " from {} to {}", low.value, high.value),
        (Some(low), None) => write!(out, " of at least {}", low.value),
        (None, Some(high)) => write!(out, " below {}", high.value),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_written_with_its_sign() {
        for (text, value) in [("99.5%", 0.995), ("0%", 0.0), ("100 %", 1.0)] {
            let share: Share = text.parse().unwrap();
            assert!((share.get() - value).abs() < 1e-12, "{text}");
        }
        assert_eq!("99.7%".parse::<Share>().unwrap().to_string(), "99.7%");
        for text in ["99", "-1%", "101%", "NaN%", ""] {
            let error = Share::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("99.5%"), "{error}");
        }
    }
}
