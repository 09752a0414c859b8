//! `fd-limit`: the unit gets fewer file descriptors.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses};
use crate::FieldError;

/// The kernel's own upper bound (fs.nr_open) by default.
const MOST: u64 = 1_048_576;

/// Each process of the unit can have at most so many file descriptors; those that are open stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FdLimit {
    /// The limit, 0 to 1048576.
    pub limit: u64,
}

impl Parameters for FdLimit {
    const KIND: &'static str = "fd-limit";

    fn uses(&self) -> Uses {
        Uses::nothing("it holds all the time: there are no single events")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if self.limit > MOST {
            errors.push(FieldError::new(
                "limit",
                self.limit,
                "a number of descriptors from 0 to 1048576",
            ));
        }
    }

    fn describe(&self) -> String {
        format!("{} descriptors", self.limit)
    }
}
