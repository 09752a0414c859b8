//! The fate of event number n: a pure function of a rule's seed and n.
//!
//! The same seed and the same n always give the same fate, on every CPU and in user space, so a
//! run can be repeated and a test can predict the kernel's count to the event.

/// The threshold at which every event is faulted.
pub const ALWAYS: u64 = 1 << 32;

/// The odd constant that spreads consecutive event numbers over 64 bits (2^64 divided by the golden ratio).
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether event number `n` of a rule is faulted.
///
/// `threshold` is the probability in units of 2^-32: 0 never, [`ALWAYS`] always.
///
/// The mixing is SplitMix64's finalizer (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014), addressed by counter instead of by state.
#[inline(always)]
pub const fn is_faulted(seed: u64, n: u64, threshold: u64) -> bool {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 32) < threshold
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
