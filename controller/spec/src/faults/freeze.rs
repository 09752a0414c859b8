//! `freeze`: the unit stands still, all the time or in pulses.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, defaults};
use crate::{FieldError, HumanDuration, Percent};

/// Below it, freezing and thawing is most of the period.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(60);

/// All processes of the unit stand still, all the time or in pulses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// The time from one pulse to the next, 20 ms to 60 s; none to freeze all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<HumanDuration>,
    /// The frozen share of each period, 1% to 99%; 50% by default.
    #[serde(default = "defaults::half")]
    pub frozen: Percent,
}

impl Parameters for Freeze {
    const KIND: &'static str = "freeze";

    fn uses(&self) -> Uses {
        Uses::nothing("it holds all the time: there are no single events")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if let Some(period) = self.period
            && !(SHORTEST..=LONGEST).contains(&period.get())
        {
            errors.push(FieldError::new("period", period, "a time from 20ms to 60s"));
        }
        if !(1..=99).contains(&self.frozen.get()) {
            errors.push(FieldError::new(
                "frozen",
                self.frozen,
                "a share of the period from 1% to 99%",
            ));
        } else if self.period.is_none() && self.frozen != defaults::half() {
            errors.push(FieldError::new(
                "frozen",
                self.frozen,
                "it together with period: without it the unit is frozen all the time",
            ));
        }
    }

    fn describe(&self) -> String {
        let Some(period) = self.period else {
            return "all the time".to_owned();
        };
        format!("{} of every {period}", self.frozen)
    }
}
