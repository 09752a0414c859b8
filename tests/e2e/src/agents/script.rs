//! A program that others wrote, in a unit of its own in the target slice.

use anyhow::Result;

use super::UNIT_PREFIX;
use crate::{command, lab};

/// A unit with a shell script for a program.
#[derive(Debug)]
pub(crate) struct Script {
    unit: String,
}

impl Script {
    /// Starts it. The unit stays known after its end, so that systemd can be asked how that was.
    pub(crate) fn start(name: &str, text: &str) -> Result<Self> {
        let unit = format!("{UNIT_PREFIX}{name}.service");
        command::output(&[
            "systemd-run",
            "--quiet",
            &format!("--slice={}", lab::SUT_SLICE),
            &format!("--unit={unit}"),
            "--property=RemainAfterExit=yes",
            "sh",
            "-c",
            text,
        ])?;
        Ok(Self { unit })
    }

    /// The unit's name.
    pub(crate) fn unit(&self) -> &str {
        &self.unit
    }
}
