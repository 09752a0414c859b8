//! A packet on its way through a hook, its headers read once, and only if a rule of its unit asks for them.

use aya_ebpf::bindings::__sk_buff;
use observastack_abi::{
    counts::RuleCounts,
    packet::{DIRECTION_IN, DIRECTION_OUT, Packet, PacketFilter},
    rule::{ActiveSlots, RuleHead},
};

use crate::{
    clock::about_ns,
    packet,
    rule::{active, are_any, decide, event},
};

/// How a hook finds the unit that a packet is about.
type UnitOf = fn(*mut __sk_buff) -> Option<u32>;

/// A packet at a hook, seen from one unit.
pub(crate) struct Passing {
    /// The unit that it comes to or from.
    pub(crate) unit: u32,
    direction: u8,
    active: &'static ActiveSlots,
    /// What its headers say, where they were read: no lazy reading, which would be verified again in every rule's turn.
    pub(crate) packet: Packet,
}

impl Passing {
    /// A packet that arrives at a unit, which `unit_of` finds; `None` where that has no rule of `faults`, a bit for each.
    #[inline(always)]
    pub(crate) fn incoming(skb: *mut __sk_buff, faults: u32, unit_of: UnitOf) -> Option<Self> {
        Self::new(skb, faults, unit_of, DIRECTION_IN)
    }

    /// A packet that leaves from the unit.
    #[inline(always)]
    pub(crate) fn outgoing(skb: *mut __sk_buff, faults: u32, unit_of: UnitOf) -> Option<Self> {
        Self::new(skb, faults, unit_of, DIRECTION_OUT)
    }

    #[inline(always)]
    fn new(skb: *mut __sk_buff, faults: u32, unit_of: UnitOf, direction: u8) -> Option<Self> {
        if !are_any(faults) {
            return None;
        }
        let unit = unit_of(skb)?;
        let active = active(unit, faults)?;
        let mut packet = Packet::default();
        if active.headers & faults != 0 {
            packet::parse(skb, direction == DIRECTION_IN, &mut packet);
        }
        Some(Self {
            unit,
            direction,
            active,
            packet,
        })
    }

    /// The slots that have rules of one fault, a bit for each.
    #[inline(always)]
    pub(crate) fn active(&self, fault: usize) -> u8 {
        self.active.of[fault]
    }

    /// Counts and decides it where a rule's condition holds; its number where it is to be faulted.
    #[inline(always)]
    pub(crate) fn decide(
        &self,
        head: &RuleHead,
        filter: &PacketFilter,
        counts: *mut RuleCounts,
    ) -> Option<u64> {
        if !self.is_meant_by(filter) {
            return None;
        }
        decide(head, counts, about_ns, event::PACKET, filter.port)
    }

    #[inline(always)]
    fn is_meant_by(&self, filter: &PacketFilter) -> bool {
        filter.direction & self.direction != 0
            && (!filter.needs_headers() || filter.matches(&self.packet))
    }
}
