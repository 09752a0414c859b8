//! A packet on its way through a hook, its headers read once, and only if a rule of its unit asks for them.

use aya_ebpf::bindings::__sk_buff;
use observastack_abi::{
    packet::{DIRECTION_IN, DIRECTION_OUT, Packet, PacketFilter},
    rule::ActiveSlots,
};

use crate::{packet, rule::active};

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
    /// A packet that arrives at the unit; `None` where it has no rule of `faults`, a bit for each.
    #[inline(always)]
    pub(crate) fn incoming(unit: u32, skb: *mut __sk_buff, faults: u32) -> Option<Self> {
        Self::new(unit, skb, faults, DIRECTION_IN)
    }

    /// A packet that leaves from the unit.
    #[inline(always)]
    pub(crate) fn outgoing(unit: u32, skb: *mut __sk_buff, faults: u32) -> Option<Self> {
        Self::new(unit, skb, faults, DIRECTION_OUT)
    }

    #[inline(always)]
    fn new(unit: u32, skb: *mut __sk_buff, faults: u32, direction: u8) -> Option<Self> {
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

    /// Whether a rule's condition holds for it.
    #[inline(always)]
    pub(crate) fn is_meant_by(&self, filter: &PacketFilter) -> bool {
        filter.direction & self.direction != 0
            && (!filter.needs_headers() || filter.matches(&self.packet))
    }
}
