//! `memory-limit`: the unit gets less memory.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses};
use crate::{Bytes, FieldError};

/// The smallest limit: below it not even a program's start fits.
const SMALLEST: Bytes = Bytes::new(1 << 20);

/// The unit gets at most so much memory; beyond it the kernel reclaims, then kills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryLimit {
    /// The limit, at least 1 MiB.
    pub limit: Bytes,
}

impl Parameters for MemoryLimit {
    const KIND: &'static str = "memory-limit";

    fn uses(&self) -> Uses {
        Uses::nothing("it holds all the time: there are no single events")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if self.limit < SMALLEST {
            errors.push(FieldError::new(
                "limit",
                self.limit,
                "at least 1MiB, such as 64MiB",
            ));
        }
    }

    fn describe(&self) -> String {
        self.limit.to_string()
    }
}
