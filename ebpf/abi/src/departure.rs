//! Departure times, which `latency` and `bandwidth` give to packets and the `fq` queue keeps them until.

/// The furthest ahead of now that a packet's time is ever set, in nanoseconds: `fq` drops what lies more than 10 s ahead (its
/// `horizon`), which nobody asked for.
pub const LATEST_NS: u64 = 9_000_000_000;

/// A departure time, or the latest that there is where rules together ask for a later one.
#[inline(always)]
pub const fn at(wanted_ns: u64, now_ns: u64) -> u64 {
    let latest_ns = now_ns.saturating_add(LATEST_NS);
    if wanted_ns > latest_ns {
        latest_ns
    } else {
        wanted_ns
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_departure_is_never_beyond_what_fq_keeps_and_never_moved_without_need(wanted: u64, now: u64) {
            let departure = at(wanted, now);
            prop_assert!(departure <= now.saturating_add(LATEST_NS));
            prop_assert!(departure == wanted || wanted > now.saturating_add(LATEST_NS));
        }
    }
}
