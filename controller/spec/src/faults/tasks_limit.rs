//! `tasks-limit`: the unit gets fewer processes and threads.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses};
use crate::FieldError;

/// The unit can have at most so many processes and threads; those that it has stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TasksLimit {
    /// The limit, at least 1.
    pub limit: u64,
}

impl Parameters for TasksLimit {
    const KIND: &'static str = "tasks-limit";

    fn uses(&self) -> Uses {
        Uses::nothing("it holds all the time: there are no single events")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if self.limit == 0 {
            errors.push(FieldError::new("limit", 0, "a number of tasks from 1"));
        }
    }

    fn describe(&self) -> String {
        format!("{} tasks", self.limit)
    }
}
