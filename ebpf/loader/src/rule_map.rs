//! A fault's rules and counters: two maps with the same indices.

use aya::{
    Ebpf, Pod,
    maps::{Array, MapData, MapError},
};
use observastack_abi::{
    connect_error::ConnectErrorRule,
    counts::RuleCounts,
    packet_loss::PacketLossRule,
    rule::{RULES_PER_UNIT, RuleHead, slot_index},
    unit::MAX_UNITS,
};

/// A rule as the maps see it.
pub(crate) trait HasHead: Pod + Default {
    fn head_mut(&mut self) -> &mut RuleHead;
}

impl HasHead for PacketLossRule {
    fn head_mut(&mut self) -> &mut RuleHead {
        &mut self.head
    }
}

impl HasHead for ConnectErrorRule {
    fn head_mut(&mut self) -> &mut RuleHead {
        &mut self.head
    }
}

/// The rules of one fault, with the slots that are taken.
pub(crate) struct RuleMap<R: HasHead> {
    rules: Array<MapData, R>,
    counts: Array<MapData, RuleCounts>,
    taken: Vec<bool>,
}

impl<R: HasHead> RuleMap<R> {
    /// Takes both maps out of a loaded object; `None` where it doesn't have them.
    pub(crate) fn take(ebpf: &mut Ebpf, rules: &str, counts: &str) -> Option<Self> {
        Some(Self {
            rules: Array::try_from(ebpf.take_map(rules)?).ok()?,
            counts: Array::try_from(ebpf.take_map(counts)?).ok()?,
            taken: vec![false; (MAX_UNITS * RULES_PER_UNIT) as usize],
        })
    }

    /// A slot of this unit that no rule has.
    pub(crate) fn free_slot(&self, unit: u32) -> Option<u32> {
        (0..RULES_PER_UNIT).find(|slot| !self.taken[slot_index(unit, *slot) as usize])
    }

    /// Puts a rule into a slot and starts it.
    ///
    /// The kernel copies a map value without stopping readers. So a rule is written with an end time that has passed
    /// first, and gets its own in a second write that changes nothing else: a program sees it whole or not at all.
    pub(crate) fn arm(&mut self, unit: u32, slot: u32, rule: &R) -> Result<(), MapError> {
        let index = slot_index(unit, slot);
        let mut asleep = *rule;
        asleep.head_mut().end_ns = 0;
        self.counts.set(index, RuleCounts::default(), 0)?;
        self.rules.set(index, asleep, 0)?;
        self.rules.set(index, *rule, 0)?;
        self.taken[index as usize] = true;
        Ok(())
    }

    /// Ends a rule and gives its last counts. Puts it to sleep before it is wiped, for the reason given at [`Self::arm`].
    pub(crate) fn disarm(&mut self, unit: u32, slot: u32) -> Result<RuleCounts, MapError> {
        let index = slot_index(unit, slot);
        let mut asleep = self.rules.get(&index, 0)?;
        asleep.head_mut().end_ns = 0;
        self.rules.set(index, asleep, 0)?;
        let counts = self.counts.get(&index, 0)?;
        self.rules.set(index, R::default(), 0)?;
        self.taken[index as usize] = false;
        Ok(counts)
    }

    /// A rule's counts now.
    pub(crate) fn counts(&self, unit: u32, slot: u32) -> Result<RuleCounts, MapError> {
        self.counts.get(&slot_index(unit, slot), 0)
    }

    /// Whether no slot is taken.
    pub(crate) fn is_empty(&self) -> bool {
        !self.taken.contains(&true)
    }
}
