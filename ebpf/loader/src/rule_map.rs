//! A fault's rules and counters: two maps with the same indices.

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
};
use observastack_abi::{
    counts::RuleCounts,
    rule::{RULES_PER_UNIT, slot_index},
    unit::MAX_UNITS,
};

use crate::faults::{FaultKind, KernelRule, Rule};

/// The rules of one fault, whatever their type.
pub(crate) trait RuleTable {
    /// A slot of this unit that no rule has.
    fn free_slot(&self, unit: u32) -> Option<u32>;
    /// Puts a rule into a slot and starts it.
    fn arm(&mut self, unit: u32, slot: u32, rule: &Rule) -> Result<(), MapError>;
    /// Ends a rule and gives its last counts.
    fn disarm(&mut self, unit: u32, slot: u32) -> Result<RuleCounts, MapError>;
    /// A rule's counts now.
    fn counts(&self, unit: u32, slot: u32) -> Result<RuleCounts, MapError>;
    /// The slots of a unit that are taken, a bit for each.
    fn taken(&self, unit: u32) -> u8;
    /// Whether any unit has a rule.
    fn is_used(&self) -> bool;
    /// Whether a rule of a unit asks for what is in a packet's headers.
    fn needs_headers(&self, unit: u32) -> bool;
}

/// Takes a fault's maps out of a loaded object; `None` where it doesn't have them.
pub(crate) fn take(ebpf: &mut Ebpf, kind: FaultKind) -> Option<Box<dyn RuleTable + Send>> {
    use observastack_abi::{
        bandwidth::BandwidthRule, bind_error::BindErrorRule, connect_error::ConnectErrorRule,
        latency::LatencyRule, mtu_blackhole::MtuBlackholeRule, packet_loss::PacketLossRule,
        signal::SignalRule, slow_receiver::SlowReceiverRule, syscall_error::SyscallErrorRule,
    };
    match kind {
        FaultKind::PacketLoss => boxed::<PacketLossRule>(ebpf, kind),
        FaultKind::MtuBlackhole => boxed::<MtuBlackholeRule>(ebpf, kind),
        FaultKind::Latency => boxed::<LatencyRule>(ebpf, kind),
        FaultKind::Bandwidth => boxed::<BandwidthRule>(ebpf, kind),
        FaultKind::SlowReceiver => boxed::<SlowReceiverRule>(ebpf, kind),
        FaultKind::ConnectError => boxed::<ConnectErrorRule>(ebpf, kind),
        FaultKind::BindError => boxed::<BindErrorRule>(ebpf, kind),
        FaultKind::SyscallError => boxed::<SyscallErrorRule>(ebpf, kind),
        FaultKind::Signal => boxed::<SignalRule>(ebpf, kind),
    }
}

fn boxed<R: KernelRule + 'static>(
    ebpf: &mut Ebpf,
    kind: FaultKind,
) -> Option<Box<dyn RuleTable + Send>> {
    let stem = kind.name().to_uppercase().replace('-', "_");
    let rules = ebpf.take_map(&format!("{stem}_RULES"))?;
    let counts = ebpf.take_map(&format!("{stem}_COUNTS"))?;
    Some(Box::new(RuleMap::<R> {
        rules: Array::try_from(rules).ok()?,
        counts: Array::try_from(counts).ok()?,
        taken: vec![0; MAX_UNITS as usize],
        headers: vec![0; MAX_UNITS as usize],
    }))
}

struct RuleMap<R: KernelRule> {
    rules: Array<MapData, R>,
    counts: Array<MapData, RuleCounts>,
    taken: Vec<u8>,
    /// The slots whose rules ask for headers, a bit for each.
    headers: Vec<u8>,
}

impl<R: KernelRule> RuleTable for RuleMap<R> {
    fn free_slot(&self, unit: u32) -> Option<u32> {
        (0..RULES_PER_UNIT).find(|slot| self.taken[unit as usize] & (1 << slot) == 0)
    }

    /// The kernel copies a map value without stopping readers. So a rule is written with an end time that has passed
    /// first, and gets its own in a second write that changes nothing else: a program sees it whole or not at all.
    fn arm(&mut self, unit: u32, slot: u32, rule: &Rule) -> Result<(), MapError> {
        let index = slot_index(unit, slot);
        let needs_headers = rule.needs_headers();
        // The table was chosen by the rule's kind.
        let Some(rule) = R::of(rule) else {
            return Err(MapError::InvalidName {
                name: "another fault's table".to_owned(),
            });
        };
        let mut asleep = *rule;
        asleep.head_mut().end_ns = 0;
        self.counts.set(index, RuleCounts::default(), 0)?;
        self.rules.set(index, asleep, 0)?;
        self.rules.set(index, *rule, 0)?;
        self.taken[unit as usize] |= 1 << slot;
        if needs_headers {
            self.headers[unit as usize] |= 1 << slot;
        }
        Ok(())
    }

    /// Puts the rule to sleep before it is wiped, for the reason given at [`Self::arm`].
    fn disarm(&mut self, unit: u32, slot: u32) -> Result<RuleCounts, MapError> {
        let index = slot_index(unit, slot);
        let mut asleep = self.rules.get(&index, 0)?;
        asleep.head_mut().end_ns = 0;
        self.rules.set(index, asleep, 0)?;
        let counts = self.counts.get(&index, 0)?;
        self.rules.set(index, R::default(), 0)?;
        self.taken[unit as usize] &= !(1 << slot);
        self.headers[unit as usize] &= !(1 << slot);
        Ok(counts)
    }

    fn counts(&self, unit: u32, slot: u32) -> Result<RuleCounts, MapError> {
        self.counts.get(&slot_index(unit, slot), 0)
    }

    fn taken(&self, unit: u32) -> u8 {
        self.taken[unit as usize]
    }

    fn is_used(&self) -> bool {
        self.taken.iter().any(|slots| *slots != 0)
    }

    fn needs_headers(&self, unit: u32) -> bool {
        self.headers[unit as usize] != 0
    }
}
