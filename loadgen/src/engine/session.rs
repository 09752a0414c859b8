//! One client on its way through a journey.

use std::{cmp::Ordering, time::Duration};

use crate::workload::{Chance, Step, TraceId, Workload};

/// See the module. Times are since the beginning of the run.
#[derive(Clone, Debug)]
pub(super) struct Session {
    journey: usize,
    step: usize,
    /// How often this step's request was sent again.
    pub(super) repetitions: u32,
    /// When its first request was due.
    pub(super) begun: Duration,
    /// When the request that is to be sent, or on its way, was due.
    pub(super) due: Duration,
    pub(super) values: Vec<String>,
    pub(super) chance: Chance,
    pub(super) trace: Option<TraceId>,
}

impl Session {
    /// The n-th of all, whichever worker has it.
    pub(super) fn begin(workload: &Workload, arrival: u64, due: Duration) -> Self {
        let mut chance = workload.chance(arrival);
        Self {
            journey: workload.choose(&mut chance),
            step: 0,
            repetitions: 0,
            begun: due,
            due,
            values: workload.values(arrival, &mut chance),
            trace: workload.trace(&mut chance),
            chance,
        }
    }

    pub(super) fn journey(&self) -> usize {
        self.journey
    }

    pub(super) fn step<'a>(&self, workload: &'a Workload) -> Option<&'a Step> {
        workload.step(self.journey, self.step)
    }

    pub(super) fn endpoint(&self, workload: &Workload) -> usize {
        workload.endpoint(self.journey, self.step)
    }

    /// Goes on to the next request, due then; whether there is one.
    pub(super) fn go_on(&mut self, workload: &Workload, now: Duration) -> bool {
        let pause = self
            .step(workload)
            .map_or(Duration::ZERO, |step| step.pause);
        self.step += 1;
        self.repetitions = 0;
        self.due = now + pause;
        self.step(workload).is_some()
    }

    /// Sends the request again, due then; whether it may be.
    pub(super) fn repeat(&mut self, workload: &Workload, now: Duration) -> bool {
        let Some(retry) = self.step(workload).map(|step| &step.retry) else {
            return false;
        };
        if self.repetitions >= retry.attempts {
            return false;
        }
        self.due = now + retry.wait_before(self.repetitions, &mut self.chance);
        self.repetitions += 1;
        true
    }
}

/// A session whose next request is due later; the earliest is the greatest, as a heap wants it.
#[derive(Debug)]
pub(super) struct Later(pub(super) Session);

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.0.due == other.0.due
    }
}

impl Eq for Later {}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.due.cmp(&self.0.due)
    }
}
