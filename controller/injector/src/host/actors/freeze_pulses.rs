//! Freezes a unit for a share of each period.
//!
//! The fault's journal entry says for the whole time that the unit has to be thawed.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::Run;
use crate::host::changes::Freeze;

/// Freezes and thaws in turn.
#[derive(Clone, Debug)]
pub struct FreezePulses {
    /// The unit.
    pub unit: String,
    /// Its cgroups.
    pub cgroups: Vec<PathBuf>,
    /// The length of a period.
    pub period: Duration,
    /// For how much of each period the unit is frozen.
    pub frozen: Duration,
}

impl FreezePulses {
    pub(super) fn run(&self, run: &Run) {
        let freeze = Freeze {
            unit: self.unit.clone(),
            cgroups: self.cgroups.clone(),
            pulsed: true,
        };
        let mut begin = Instant::now();
        loop {
            match self.write(run, &freeze, true) {
                // Somebody has reverted the fault: the unit is not ours any more.
                None => return,
                Some(true) => run.counts.add(1, 1, 0),
                Some(false) => run.counts.add(1, 0, 1),
            }
            let goes_on = run.pause_until(begin + self.frozen);
            if self.write(run, &freeze, false).is_none() || !goes_on {
                return;
            }
            begin += self.period;
            // After a delay the rhythm begins anew: pulses are not made up for.
            begin = begin.max(Instant::now().checked_sub(self.period).unwrap_or(begin));
            if !run.pause_until(begin) {
                return;
            }
        }
    }

    /// Whether it was written; `None` where the fault is not journalled any more.
    fn write(&self, run: &Run, freeze: &Freeze, frozen: bool) -> Option<bool> {
        match run.journal.while_held(run.id, || freeze.write(frozen)) {
            Ok(None) => None,
            Ok(Some(Ok(()))) => Some(true),
            Ok(Some(Err(error))) => {
                run.failed(&error, "cannot freeze or thaw");
                Some(false)
            }
            Err(error) => {
                run.failed(&error, "cannot freeze or thaw");
                Some(false)
            }
        }
    }
}
