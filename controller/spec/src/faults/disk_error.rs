//! `disk-error`: requests to the data volume fail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, defaults, words};
use crate::{FieldError, HumanDuration};

/// dm-flakey counts in seconds.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);

/// Requests to the unit's data volume fail with EIO, all the time or in turns with healthy times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskError {
    /// Whether reads fail; where neither is asked for, both do.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub reads: bool,
    /// Whether writes fail.
    #[serde(default, skip_serializing_if = "defaults::is_false")]
    pub writes: bool,
    /// How long it works between two failing times, in whole seconds; none to fail all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<HumanDuration>,
    /// How long it fails then, in whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<HumanDuration>,
}

impl Parameters for DiskError {
    const KIND: &'static str = "disk-error";

    fn uses(&self) -> Uses {
        Uses::nothing("the device-mapper target does not pick single requests")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        for (field, time) in [("healthy", self.healthy), ("failing", self.failing)] {
            if let Some(time) = time
                && !(time.is_whole_seconds() && (SHORTEST..=LONGEST).contains(&time.get()))
            {
                errors.push(FieldError::new(field, time, "whole seconds from 1s to 1h"));
            }
        }
        match (self.healthy, self.failing) {
            (Some(healthy), None) => errors.push(FieldError::new(
                "healthy",
                healthy,
                "it together with failing",
            )),
            (None, Some(failing)) => errors.push(FieldError::new(
                "failing",
                failing,
                "it together with healthy",
            )),
            _ => {}
        }
    }

    fn describe(&self) -> String {
        let turns = self.healthy.zip(self.failing);
        words([
            (self.reads != self.writes)
                .then(|| if self.reads { "reads" } else { "writes" }.to_owned()),
            turns.map(|(healthy, failing)| format!("{failing} after every {healthy}")),
        ])
    }
}
