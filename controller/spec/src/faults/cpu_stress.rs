//! `cpu-stress`: load inside the unit's own cgroup.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses, defaults};
use crate::{FieldError, Percent};

/// Busy processes inside the unit's own cgroup take CPU time from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuStress {
    /// How many, 1 to 64.
    pub workers: u32,
    /// How busy each is, 1% to 100%; 100% by default.
    #[serde(default = "defaults::all")]
    pub load: Percent,
}

impl Parameters for CpuStress {
    const KIND: &'static str = "cpu-stress";

    fn uses(&self) -> Uses {
        Uses::nothing("it holds all the time: there are no single events")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if !(1..=64).contains(&self.workers) {
            errors.push(FieldError::new("workers", self.workers, "1 to 64 workers"));
        }
        if !(1..=100).contains(&self.load.get()) {
            errors.push(FieldError::new(
                "load",
                self.load,
                "a share of a CPU from 1% to 100%",
            ));
        }
    }

    fn describe(&self) -> String {
        format!("{} workers at {}", self.workers, self.load)
    }
}
