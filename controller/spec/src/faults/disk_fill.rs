//! `disk-fill`: the data volume gets full.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses};
use crate::{Bytes, FieldError};

/// A file fills the unit's data volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFill {
    /// How much is left free; nothing by default.
    #[serde(default)]
    pub leave: Bytes,
}

impl Parameters for DiskFill {
    const KIND: &'static str = "disk-fill";

    fn uses(&self) -> Uses {
        Uses::nothing("it holds all the time: there are no single events")
    }

    fn check(&self, _errors: &mut Vec<FieldError>) {}

    fn describe(&self) -> String {
        format!("{} left", self.leave)
    }
}
