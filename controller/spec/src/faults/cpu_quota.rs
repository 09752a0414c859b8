//! `cpu-quota`: the unit gets less of the CPUs.

use serde::{Deserialize, Serialize};

use super::{Parameters, Uses};
use crate::{FieldError, Percent};

/// The unit gets at most a share of one CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuQuota {
    /// The share of one CPU, 1% to 10000%; 150% is one and a half.
    pub quota: Percent,
}

impl Parameters for CpuQuota {
    const KIND: &'static str = "cpu-quota";

    fn uses(&self) -> Uses {
        Uses::nothing("it holds all the time: there are no single events")
    }

    fn check(&self, errors: &mut Vec<FieldError>) {
        if self.quota.get() == 0 {
            errors.push(FieldError::new(
                "quota",
                self.quota,
                "a share of one CPU from 1% to 10000%, such as 20% or 150%",
            ));
        }
    }

    fn describe(&self) -> String {
        self.quota.to_string()
    }
}
