//! What faults have done since the injector started, by fault and unit: counters that never go back.

use std::collections::BTreeMap;

use observastack_spec::api::{Counts, FaultState, FaultStatus};

/// What all faults of one kind have done to one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    /// `fault` and `unit`, as label names and values.
    pub(crate) labels: [(&'static str, String); 2],
    pub(crate) counts: Counts,
    /// How many hold now.
    pub(crate) active: u64,
}

/// The sums of faults that have ended.
#[derive(Debug, Default)]
pub(crate) struct Totals(BTreeMap<(&'static str, String), Counts>);

impl Totals {
    /// Takes in a fault that has ended. A covert one is counted nowhere.
    pub(crate) fn add(&mut self, ended: &FaultStatus) {
        if ended.spec.covert {
            return;
        }
        let key = (ended.spec.fault.kind(), ended.spec.unit.clone());
        add(self.0.entry(key).or_default(), ended.counts);
    }

    /// The sums, those of active faults included.
    pub(crate) fn series<'a>(&self, active: impl Iterator<Item = &'a FaultStatus>) -> Vec<Series> {
        let mut all: BTreeMap<(&'static str, String), (Counts, u64)> = self
            .0
            .iter()
            .map(|(key, counts)| (key.clone(), (*counts, 0)))
            .collect();
        for status in active.filter(|status| !status.spec.covert) {
            let key = (status.spec.fault.kind(), status.spec.unit.clone());
            let (counts, holding) = all.entry(key).or_default();
            add(counts, status.counts);
            *holding += u64::from(status.state == FaultState::Active);
        }
        all.into_iter()
            .map(|((fault, unit), (counts, active))| Series {
                labels: [("fault", fault.to_owned()), ("unit", unit)],
                counts,
                active,
            })
            .collect()
    }
}

fn add(to: &mut Counts, more: Counts) {
    to.matched += more.matched;
    to.injected += more.injected;
    to.skipped += more.skipped;
}
