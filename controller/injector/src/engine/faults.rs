//! The faults that the injector knows: active ones, and the last ones that have ended. Pure bookkeeping.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering},
};

use observastack_abi::counts::RuleCounts;
use observastack_loader::Armed;
use observastack_spec::{
    api::{Counts, FaultState, FaultStatus},
    fault::FaultSpec,
};

use crate::host::actors::ActorCounts;

/// How many ended faults are remembered.
const ENDED: usize = 64;

/// A fault that holds.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) spec: FaultSpec,
    /// Its rule, where it has one.
    pub(crate) armed: Option<Armed>,
    /// What the hands keep up for it, where they do.
    pub(crate) by_hands: Option<Arc<ActorCounts>>,
    pub(crate) end_ns: u64,
    pub(crate) since_unix_ms: u64,
}

/// Active faults by id, and ended ones, newest first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: BTreeMap<u64, Active>,
    ended: VecDeque<FaultStatus>,
}

impl Faults {
    pub(crate) fn insert(&mut self, id: u64, fault: Active) {
        self.active.insert(id, fault);
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = (u64, &Active)> {
        self.active.iter().map(|(id, fault)| (*id, fault))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Active> {
        self.active.get(&id)
    }

    /// Ids of active faults whose end time has come.
    pub(crate) fn expired(&self, now_ns: u64) -> Vec<u64> {
        self.active
            .iter()
            .filter(|(_, fault)| fault.end_ns <= now_ns)
            .map(|(id, _)| *id)
            .collect()
    }

    /// Moves a fault to the ended ones and gives its last status.
    pub(crate) fn end(
        &mut self,
        id: u64,
        state: FaultState,
        counts: Counts,
    ) -> Option<FaultStatus> {
        let fault = self.active.remove(&id)?;
        let status = FaultStatus {
            id,
            spec: fault.spec,
            state,
            since_unix_ms: fault.since_unix_ms,
            remaining_ms: 0,
            counts,
        };
        self.ended.push_front(status.clone());
        self.ended.truncate(ENDED);
        Some(status)
    }

    pub(crate) fn ended(&self) -> impl Iterator<Item = &FaultStatus> {
        self.ended.iter()
    }
}

/// An active fault's status.
pub(crate) fn status_of(id: u64, fault: &Active, counts: Counts, now_ns: u64) -> FaultStatus {
    FaultStatus {
        id,
        spec: fault.spec.clone(),
        state: if fault.end_ns <= now_ns {
            FaultState::Expired
        } else {
            FaultState::Active
        },
        since_unix_ms: fault.since_unix_ms,
        remaining_ms: fault.end_ns.saturating_sub(now_ns) / 1_000_000,
        counts,
    }
}

/// A rule's counts, and what the hands have counted.
pub(crate) fn counts_of(rule: RuleCounts, by_hands: Option<&ActorCounts>) -> Counts {
    let mut counts = Counts {
        matched: rule.matched,
        injected: rule.injected,
        skipped: rule.skipped,
    };
    if let Some(hands) = by_hands {
        counts.matched += hands.matched.load(Ordering::Relaxed);
        counts.injected += hands.injected.load(Ordering::Relaxed);
        counts.skipped += hands.skipped.load(Ordering::Relaxed);
    }
    counts
}
