//! `disk-delay`: the data volume gets slow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, words};
use crate::{FieldError, HumanDuration};

/// dm-delay counts in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(10);

/// Requests to the unit's data volume take longer; reads, writes and flushes apart, at least one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskDelay {
    /// How much longer reads take, at most 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<HumanDuration>,
    /// How much longer writes take, at most 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<HumanDuration>,
    /// How much longer flushes take, at most 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush: Option<HumanDuration>,
}

impl Parameters for DiskDelay {
    const KIND: &'static str = "disk-delay";

    fn uses(&self) -> Uses {
        Uses::nothing("the device-mapper target does not pick single requests")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        let delays = [
            ("read", self.read),
            ("write", self.write),
            ("flush", self.flush),
        ];
        for (field, delay) in delays {
            if let Some(delay) = delay
                && !(SHORTEST..=LONGEST).contains(&delay.get())
            {
                errors.push(FieldError::new(field, delay, "a time from 1ms to 10s"));
            }
        }
        if delays.iter().all(|(_, delay)| delay.is_none()) {
            errors.push(FieldError::new(
                "read",
                "none",
                "at least one of read, write and flush, such as 50ms",
            ));
        }
    }

    fn describe(&self) -> String {
        words([
            self.read.map(|delay| format!("read {delay}")),
            self.write.map(|delay| format!("write {delay}")),
            self.flush.map(|delay| format!("flush {delay}")),
        ])
    }
}
