//! What every rule has in common: who it is, how long it holds, and which events it faults.

/// How many rules of one fault a unit can have at the same time.
pub const RULES_PER_UNIT: u32 = 8;

/// The rule streams its decisions through aya-log, rate-limited.
pub const FLAG_VERBOSE: u32 = 1;

/// Events are faulted in bursts ([`crate::decision::in_burst`]) and not one by one.
pub const FLAG_BURST: u32 = 2;

/// The largest errno that Linux hands to user space (`MAX_ERRNO` in `include/linux/err.h`).
pub const MAX_ERRNO: i32 = 4095;

/// The least time between two decisions of the same kind, to fault or to leave alone, that one verbose rule logs, in
/// nanoseconds (200 lines a second in all).
pub const LOG_INTERVAL_NS: u64 = 10_000_000;

/// The start of every rule.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleHead {
    /// The fault's id, from 1; 0 is a free slot.
    pub id: u64,
    /// When the rule ends, in nanoseconds of `CLOCK_MONOTONIC` (`bpf_ktime_get_ns`).
    pub end_ns: u64,
    /// The seed of the decisions.
    pub seed: u64,
    /// The probability in units of 2^-32, at most [`crate::decision::ALWAYS`].
    pub threshold: u64,
    /// So many events are left alone first.
    pub after: u64,
    /// At most so many events are faulted; 0 is any number.
    pub max: u64,
    /// With [`FLAG_BURST`]: the probability that an event begins a burst, in units of 2^-32.
    pub burst_enter: u64,
    /// With [`FLAG_BURST`]: the probability that an event ends a burst, in units of 2^-32.
    pub burst_leave: u64,
    /// Only every so many-th event can be faulted; 0 and 1 are each.
    pub every: u32,
    /// [`FLAG_VERBOSE`] and [`FLAG_BURST`], or 0.
    pub flags: u32,
}

const _: () = assert!(size_of::<RuleHead>() == 72);

/// The map index of a unit's rule: each unit has [`RULES_PER_UNIT`] consecutive slots.
#[inline(always)]
pub const fn slot_index(unit: u32, slot: u32) -> u32 {
    unit * RULES_PER_UNIT + slot
}

/// The number of elements of a rule map.
pub const MAX_RULES: u32 = crate::unit::MAX_UNITS * RULES_PER_UNIT;

/// Faults that have rules in the kernel; each is an index into [`ActiveSlots`].
pub mod fault {
    /// `packet-loss` and `blackhole`.
    pub const PACKET_LOSS: usize = 0;
    /// `mtu-blackhole`.
    pub const MTU_BLACKHOLE: usize = 1;
    /// `latency`.
    pub const LATENCY: usize = 2;
    /// `bandwidth`.
    pub const BANDWIDTH: usize = 3;
    /// `slow-receiver`.
    pub const SLOW_RECEIVER: usize = 4;
    /// `connect-error`.
    pub const CONNECT_ERROR: usize = 5;
    /// `bind-error`.
    pub const BIND_ERROR: usize = 6;
    /// `syscall-error`.
    pub const SYSCALL_ERROR: usize = 7;
    /// `signal`.
    pub const SIGNAL: usize = 8;
}

/// Which slots of a unit have rules, a bit for each slot: a fault that the unit doesn't have costs one comparison.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActiveSlots {
    /// By [`fault`]; bit n is slot n.
    pub of: [u8; 12],
    /// The faults, bit n for number n, that have a rule here.
    pub faults: u32,
    /// Those of them that have a rule which asks for what is in a packet's headers.
    pub headers: u32,
}

const _: () = assert!(size_of::<ActiveSlots>() == 20);
const _: () = assert!(RULES_PER_UNIT <= u8::BITS);

/// Where the [`ActiveSlots`] of all units together are, behind those of each: an event that no unit's rule is about needs no unit.
pub const ALL_UNITS: u32 = crate::unit::MAX_UNITS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::MAX_UNITS;

    #[test]
    fn every_unit_has_slots_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for unit in 0..MAX_UNITS {
            for slot in 0..RULES_PER_UNIT {
                assert!(seen.insert(slot_index(unit, slot)));
            }
        }
        assert_eq!(seen.len() as u32, MAX_RULES);
        assert!(seen.iter().all(|index| *index < MAX_RULES));
    }
}
