//! Waits for a CPU: who waits, since when, and whom a task had to make room for.

use super::UNITS;

/// How many waiting tasks are remembered at once. A power of two, well above what waits at any moment.
pub const WAITING_PLACES: u32 = 8192;

/// A task that could run and does not yet. Found by its address; the next one in the same place overwrites it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Its `task_struct`'s address; 0 for nobody.
    pub task: u64,
    /// Since when it waits, in nanoseconds of `CLOCK_MONOTONIC`.
    pub since_ns: u64,
}

/// What a CPU remembers of its last switch until the next one, when the task that came is the current one and can be asked for its unit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switched {
    /// When it was.
    pub at_ns: u64,
    /// How long the task that came had waited, plus one; 0 where that is not known.
    pub waited_ns: u64,
    /// The unit whose task went although it could have gone on, plus one; 0 for none.
    pub victim: u64,
}

/// How often one unit's tasks had to make room for another's, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preemptions {
    /// How often.
    pub count: u64,
    /// How long the others ran then before the next switch, in nanoseconds.
    pub ran_ns: u64,
}

const _: () = assert!(size_of::<Waiting>() == 16);
const _: () = assert!(size_of::<Switched>() == 24);
const _: () = assert!(size_of::<Preemptions>() == 16);
const _: () = assert!(WAITING_PLACES.is_power_of_two());

/// A task's place in the table of waiting ones: by Fibonacci hashing, as tasks lie at multiples of a large number.
#[inline(always)]
pub const fn place_of(task: u64) -> u32 {
    (task.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - WAITING_PLACES.ilog2())) as u32
}

/// Where the table of preemptions has a pair of units.
#[inline(always)]
pub const fn pair(victim: u32, by: u32) -> u32 {
    victim * UNITS + by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_one_slab_have_places_of_their_own() {
        // 1,000 structures of 9,792 bytes, three to a slab of 32 KiB.
        let tasks = (0..1000).map(|n| 0xffff_8880_0123_0000 + n / 3 * 32768 + n % 3 * 9792);
        let places: std::collections::BTreeSet<_> = tasks.map(place_of).collect();
        assert!(places.len() > 900, "{} places", places.len());
        assert!(places.iter().all(|place| *place < WAITING_PLACES));
    }

    #[test]
    fn every_pair_has_an_entry_of_its_own() {
        let pairs: std::collections::BTreeSet<_> = (0..UNITS)
            .flat_map(|victim| (0..UNITS).map(move |by| pair(victim, by)))
            .collect();
        assert_eq!(pairs.len() as u32, UNITS * UNITS);
        assert_eq!(pairs.last(), Some(&(UNITS * UNITS - 1)));
    }
}
