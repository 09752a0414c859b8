//! What every rule has in common: who it is, how long it holds, and which events it faults.

/// How many rules of one fault a unit can have at the same time.
pub const RULES_PER_UNIT: u32 = 8;

/// The rule streams its decisions through aya-log, rate-limited.
pub const FLAG_VERBOSE: u32 = 1;

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
    /// The seed of [`crate::decision::is_faulted`].
    pub seed: u64,
    /// The probability in units of 2^-32, at most [`crate::decision::ALWAYS`].
    pub threshold: u64,
    /// [`FLAG_VERBOSE`] or 0.
    pub flags: u32,
    /// Explicit padding.
    pub _reserved: u32,
}

const _: () = assert!(size_of::<RuleHead>() == 40);

/// The map index of a unit's rule: each unit has [`RULES_PER_UNIT`] consecutive slots.
#[inline(always)]
pub const fn slot_index(unit: u32, slot: u32) -> u32 {
    unit * RULES_PER_UNIT + slot
}

/// The number of elements of a rule map.
pub const MAX_RULES: u32 = crate::unit::MAX_UNITS * RULES_PER_UNIT;

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
