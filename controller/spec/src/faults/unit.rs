//! `unit`: what an operator or the kernel does to a whole service.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, check, words};
use crate::{FieldError, HumanDuration, Signal, UnitAction};

/// The shortest time between two actions.
const SHORTEST: Duration = Duration::from_millis(500);

/// The unit is killed, stopped or restarted, once or again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitFault {
    /// What to do.
    pub action: UnitAction,
    /// The signal of `kill`; see [`UnitFault::kill_signal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// The time between two kills or restarts, at least 500 ms; none for a single one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<HumanDuration>,
}

impl UnitFault {
    /// The signal that `kill` sends: KILL unless asked otherwise.
    pub fn kill_signal(&self) -> Signal {
        self.signal.unwrap_or(Signal::KILL)
    }
}

impl Parameters for UnitFault {
    const KIND: &'static str = "unit";

    fn uses(&self) -> Uses {
        Uses::nothing("it is done to the whole unit: there are no single events")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        check::interval(self.interval, SHORTEST, errors);
        if let Some(signal) = self.signal.filter(|_| self.action != UnitAction::Kill) {
            errors.push(FieldError::new(
                "signal",
                signal,
                "it only with action kill",
            ));
        }
        if let Some(interval) = self.interval.filter(|_| self.action == UnitAction::Stop) {
            errors.push(FieldError::new(
                "interval",
                interval,
                "it only with action kill or restart: a stopped unit stays stopped",
            ));
        }
    }

    fn describe(&self) -> String {
        words([
            Some(self.action.to_string()),
            self.signal.map(|signal| signal.to_string()),
            self.interval.map(|interval| format!("every {interval}")),
        ])
    }
}
