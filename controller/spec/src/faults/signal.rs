//! `signal`: a signal at a system call.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, words};
use crate::{FieldError, Signal, SyscallName};

/// A process of the unit gets a signal when it enters a system call; once unless `max` says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalFault {
    /// The signal.
    pub signal: Signal,
    /// The system call.
    pub call: SyscallName,
}

impl Parameters for SignalFault {
    const KIND: &'static str = "signal";

    fn uses(&self) -> Uses {
        Uses {
            max_by_default: Some(1),
            ..Uses::events("")
        }
    }

    fn check(&self, _errors: &mut Vec<FieldError>) {}

    fn describe(&self) -> String {
        words([
            Some(self.signal.to_string()),
            Some(format!("at {}", self.call)),
        ])
    }
}
