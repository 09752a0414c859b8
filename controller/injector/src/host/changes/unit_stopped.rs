//! A unit is stopped.
//!
//! Needs systemd as pid 1. Undone by starting the unit. Both only queue the job: a unit that takes its time to stop must
//! not keep other faults from being reverted.

use serde::{Deserialize, Serialize};

use super::check_name;
use crate::host::{change::ChangeError, command};

/// A stopped unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitStopped {
    /// The unit.
    pub unit: String,
}

impl UnitStopped {
    /// Only what runs can be stopped, and is to be started again; a unit that another fault has stopped ran before.
    pub(crate) fn prepare(self, held: bool) -> Result<Self, ChangeError> {
        check_name("unit", &self.unit, 255)?;
        let state = command::run(
            "systemctl",
            &[
                "show",
                "--property=ActiveState",
                "--value",
                "--",
                &self.unit,
            ],
        )?;
        let runs = matches!(state.trim(), "active" | "activating" | "reloading");
        if runs || held {
            Ok(self)
        } else {
            Err(ChangeError::refused(
                "unit",
                &self.unit,
                format!("it is {}; a unit that runs can be stopped", state.trim()),
            ))
        }
    }

    /// Has systemd stop the unit.
    pub fn apply(&self) -> Result<(), ChangeError> {
        command::run("systemctl", &["stop", "--no-block", "--", &self.unit])?;
        Ok(())
    }

    /// Has systemd start the unit.
    pub fn revert(&self) -> Result<(), ChangeError> {
        match command::run("systemctl", &["start", "--no-block", "--", &self.unit]) {
            // It was removed meanwhile.
            Err(error) if error.says(&["not found", "not loaded"]) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}
