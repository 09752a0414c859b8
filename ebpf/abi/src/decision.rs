//! The fate of event number n: a pure function of a rule's seed and n.
//!
//! The same seed and the same n always give the same fate, on every CPU and in user space, so a
//! run can be repeated and a test can predict the kernel's count to the event.

use crate::rule::{FLAG_BURST, RuleHead};

/// The threshold at which every event is faulted.
pub const ALWAYS: u64 = 1 << 32;

/// The odd constant that spreads consecutive event numbers over 64 bits (2^64 divided by the golden ratio).
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// How many events back [`in_burst`] looks for the last one that settled the state.
pub const BURST_LOOK_BACK: u32 = 128;

/// The draw of event number `n`: 32 bits, uniform, a pure function of both.
///
/// The mixing is SplitMix64's finalizer (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014), addressed by counter instead of by state.
#[inline(always)]
pub const fn draw(seed: u64, n: u64) -> u64 {
    mix(seed, n) >> 32
}

/// The 64 bits behind [`draw`].
#[inline(always)]
pub(crate) const fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether event number `n` of a rule is faulted, each by itself.
///
/// `threshold` is the probability in units of 2^-32: 0 never, [`ALWAYS`] always.
#[inline(always)]
pub const fn is_faulted(seed: u64, n: u64, threshold: u64) -> bool {
    draw(seed, n) < threshold
}

/// Whether event number `n` lies in a burst of Gilbert's model: a good event begins a burst with probability `enter`, an
/// event in a burst ends it with probability `leave`, both in units of 2^-32 (E. N. Gilbert: "Capacity of a burst-noise
/// channel", 1960). The share of faulted events is enter / (enter + leave), the mean length of a burst 1 / leave.
///
/// The state after event n depends on all before it, yet needs no memory: every draw below `enter` leads into a burst from
/// either state, and every draw from 1 - `leave` leads out of one from either state, so the last such event before n settles
/// it. `enter + leave` must lie between 0.05 and 1; then [`BURST_LOOK_BACK`] events are not enough in 0.14 % of the cases
/// at worst, and count as good.
#[inline(always)]
pub const fn in_burst(seed: u64, n: u64, enter: u64, leave: u64) -> bool {
    let mut m = n;
    let mut steps = 0;
    while steps < BURST_LOOK_BACK {
        let drawn = draw(seed, m);
        if drawn < enter {
            return true;
        }
        if drawn >= ALWAYS.saturating_sub(leave) || m == 0 {
            return false;
        }
        m -= 1;
        steps += 1;
    }
    false
}

/// Whether event number `n` may be faulted at all: not one of the first, and the nth of its row.
#[inline(always)]
pub const fn is_its_turn(head: &RuleHead, n: u64) -> bool {
    if n < head.after {
        return false;
    }
    let every = head.every as u64;
    every <= 1 || (n - head.after) % every == every - 1
}

/// The fate of event number `n` under a rule, but for [`RuleHead::max`], which is about the events faulted before.
#[inline(always)]
pub const fn fate(head: &RuleHead, n: u64) -> bool {
    if !is_its_turn(head, n) {
        false
    } else if head.flags & FLAG_BURST != 0 {
        in_burst(
            head.seed,
            n - head.after,
            head.burst_enter,
            head.burst_leave,
        )
    } else {
        is_faulted(head.seed, n, head.threshold)
    }
}

/// A probability between 0 and 1 as a threshold, rounded to the nearest 2^-32.
///
/// Values outside that range, and NaN, are clamped: validation belongs to the caller.
pub fn threshold(probability: f64) -> u64 {
    let scaled = probability * ALWAYS as f64 + 0.5;
    if scaled >= ALWAYS as f64 {
        ALWAYS
    } else if scaled > 0.0 {
        scaled as u64
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_never_and_one_always_faults() {
        for n in 0..10_000 {
            assert!(!is_faulted(7, n, threshold(0.0)));
            assert!(is_faulted(7, n, threshold(1.0)));
        }
    }

    #[test]
    fn the_first_fates_of_a_seed_are_fixed_for_all_time() {
        // A change here breaks the promise that a recorded drill can be repeated.
        let fates: Vec<u64> = (0..40)
            .filter(|n| is_faulted(42, *n, threshold(0.2)))
            .collect();
        assert_eq!(fates, FATES_OF_SEED_42);
    }

    const FATES_OF_SEED_42: &[u64] = &[1, 4, 16, 18, 21, 24, 36, 39];

    proptest! {
        #[test]
        fn the_share_of_faulted_events_is_the_probability(seed: u64, percent in 1u32..100) {
            let p = f64::from(percent) / 100.0;
            let n = 20_000u64;
            let hits = (0..n).filter(|n| is_faulted(seed, *n, threshold(p))).count() as f64;
            let mean = n as f64 * p;
            let sigma = (mean * (1.0 - p)).sqrt();
            // Six sigma: a false alarm in half a billion cases.
            prop_assert!((hits - mean).abs() <= 6.0 * sigma, "{hits} of {n} at {p}");
        }

        #[test]
        fn bursts_have_the_share_and_the_mean_length_of_gilberts_model(seed: u64, enter in 1u32..30, leave in 5u32..60) {
            let (p, r) = (f64::from(enter) / 100.0, f64::from(leave) / 100.0);
            let n = 100_000u64;
            let fates: Vec<bool> = (0..n).map(|n| in_burst(seed, n, threshold(p), threshold(r))).collect();
            let lost = fates.iter().filter(|lost| **lost).count() as f64;
            let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64 + f64::from(u8::from(fates[0]));
            let share = p / (p + r);
            // Neighbours are correlated: the variance of the share is that of fewer independent events.
            let sigma = (share * (1.0 - share) * (2.0 - p - r) / (p + r) / n as f64).sqrt();
            prop_assert!((lost / n as f64 - share).abs() <= 6.0 * sigma + 0.0014 * share, "{lost} of {n}, expected {share}");
            let mean = lost / bursts;
            let sigma = ((1.0 - r) / (r * r) / bursts).sqrt();
            prop_assert!((mean - 1.0 / r).abs() <= 6.0 * sigma + 0.01 / r, "mean burst {mean}, expected {}", 1.0 / r);
        }

        #[test]
        fn a_burst_model_that_forgets_at_once_is_a_plain_loss(seed: u64, n: u64, enter in 0u64..=ALWAYS) {
            prop_assert_eq!(in_burst(seed, n, enter, ALWAYS - enter), is_faulted(seed, n, enter));
        }

        #[test]
        fn a_fate_depends_on_the_number_alone(seed: u64, n in 0u64..1 << 40, after in 0u64..100, every in 0u32..10, flags in 0u32..4) {
            let head = RuleHead { seed, after, every, flags, threshold: 1 << 31, burst_enter: 1 << 28, burst_leave: 1 << 30, ..RuleHead::default() };
            prop_assert_eq!(fate(&head, n), fate(&head, n));
            if fate(&head, n) {
                prop_assert!(n >= after);
                prop_assert!(every <= 1 || (n - after + 1) % u64::from(every) == 0);
            }
        }

        #[test]
        fn every_nth_event_is_faulted_where_the_probability_is_one(after in 0u64..50, every in 1u32..20) {
            let head = RuleHead { after, every, threshold: ALWAYS, ..RuleHead::default() };
            let faulted: Vec<u64> = (0..1000).filter(|n| fate(&head, *n)).collect();
            let expected: Vec<u64> = (1..).map(|k| after + k * u64::from(every) - 1).take_while(|n| *n < 1000).collect();
            prop_assert_eq!(faulted, expected);
        }

        #[test]
        fn a_threshold_never_leaves_its_range(p: f64) {
            prop_assert!(threshold(p) <= ALWAYS);
        }

        #[test]
        fn raising_the_probability_only_adds_faults(seed: u64, n: u64, a in 0.0f64..=1.0, b in 0.0f64..=1.0) {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            prop_assert!(!is_faulted(seed, n, threshold(low)) || is_faulted(seed, n, threshold(high)));
        }
    }
}
