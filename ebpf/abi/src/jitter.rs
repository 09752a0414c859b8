//! How much longer than its delay a packet takes: a pure function of a rule's seed and the packet's number.

use crate::decision::{draw, mix};

/// Every value between delay - jitter and delay + jitter alike.
pub const UNIFORM: u8 = 0;
/// A bell around the delay; jitter is its standard deviation.
pub const NORMAL: u8 = 1;
/// Never less than the delay, now and then much more: a Pareto tail of shape 3.
pub const PARETO: u8 = 2;

/// The delay of packet number `n`, in nanoseconds, not negative.
///
/// - [`UNIFORM`]: delay + jitter * u, u uniform in [-1, 1).
/// - [`NORMAL`]: delay + jitter * z, where z is the sum of twelve uniform numbers less 6: mean 0, standard deviation 1, within 6.
/// - [`PARETO`]: delay + jitter * (u^(-1/3) - 1), u uniform in (0, 1]: on average half of the jitter more, at most nine times.
///
/// Both times must be below 2^40 ns (18 minutes), which keeps every product within 64 bits.
#[inline(always)]
pub const fn delay_of(distribution: u8, seed: u64, n: u64, delay_ns: u64, jitter_ns: u64) -> u64 {
    if jitter_ns == 0 {
        return delay_ns;
    }
    let extra_ns = match distribution {
        NORMAL => ((jitter_ns as i64 >> 8) * (normal_q16(seed, n) >> 4)) >> 4,
        PARETO => ((jitter_ns * pareto_q10(mix(seed, n))) >> 10) as i64,
        // 23 bits of the draw: from -2^22 to 2^22 - 1.
        _ => (jitter_ns as i64 * ((draw(seed, n) >> 9) as i64 - (1 << 22))) >> 22,
    };
    let sum = delay_ns as i64 + extra_ns;
    if sum < 0 { 0 } else { sum as u64 }
}

/// The sum of twelve uniform numbers of 16 bits, less its mean, in units of 2^-16.
#[inline(always)]
const fn normal_q16(seed: u64, n: u64) -> i64 {
    let mut sum = 0;
    let mut part = 0;
    while part < 3 {
        let bits = mix(seed, n.wrapping_mul(3).wrapping_add(part));
        sum += (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
        part += 1;
    }
    sum as i64 - 6 * 0xffff
}

/// u^(-1/3) - 1 in units of 2^-10, at most 9.
///
/// The largest of three uniform numbers is below m with probability m^3, so its reciprocal is what a cube root would give,
/// without a loop that the verifier had to walk.
#[inline(always)]
const fn pareto_q10(bits: u64) -> u64 {
    const MOST: u64 = 9 << 10;
    const MASK: u64 = (1 << 21) - 1;
    let (a, b, c) = (bits & MASK, (bits >> 21) & MASK, (bits >> 42) & MASK);
    let ab = if a > b { a } else { b };
    let largest = if ab > c { ab } else { c };
    let extra = (1 << 31) / (largest + 1) - (1 << 10);
    if extra > MOST { MOST } else { extra }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELAY_NS: u64 = 100_000_000;
    const JITTER_NS: u64 = 20_000_000;
    const MANY: u64 = 50_000;

    fn delays(distribution: u8, seed: u64) -> Vec<f64> {
        (0..MANY)
            .map(|n| delay_of(distribution, seed, n, DELAY_NS, JITTER_NS) as f64)
            .collect()
    }

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn uniform_jitter_has_its_range_mean_and_spread(seed: u64) {
            let values = delays(UNIFORM, seed);
            let (low, high) = ((DELAY_NS - JITTER_NS) as f64, (DELAY_NS + JITTER_NS) as f64);
            prop_assert!(values.iter().all(|v| (low..=high).contains(v)));
            let (mean, deviation) = mean_and_deviation(&values);
            let expected = JITTER_NS as f64 / 3f64.sqrt();
            prop_assert!((mean - DELAY_NS as f64).abs() < 6.0 * expected / (MANY as f64).sqrt(), "mean {mean}");
            prop_assert!((deviation / expected - 1.0).abs() < 0.02, "deviation {deviation}, expected {expected}");
        }

        #[test]
        fn normal_jitter_has_its_mean_and_deviation_and_its_tails(seed: u64) {
            let values = delays(NORMAL, seed);
            let (mean, deviation) = mean_and_deviation(&values);
            let jitter = JITTER_NS as f64;
            prop_assert!((mean - DELAY_NS as f64).abs() < 6.0 * jitter / (MANY as f64).sqrt() + 2000.0, "mean {mean}");
            prop_assert!((deviation / jitter - 1.0).abs() < 0.03, "deviation {deviation}");
            let within = values.iter().filter(|v| (*v - DELAY_NS as f64).abs() < jitter).count() as f64 / MANY as f64;
            prop_assert!((within - 0.683).abs() < 0.015, "{within} within one deviation");
        }

        #[test]
        fn pareto_jitter_has_its_floor_its_mean_and_a_heavy_tail(seed: u64) {
            let values = delays(PARETO, seed);
            prop_assert!(values.iter().all(|v| *v >= DELAY_NS as f64 && *v <= (DELAY_NS + 9 * JITTER_NS) as f64));
            let (mean, _) = mean_and_deviation(&values);
            // The integral of u^(-1/3) - 1 where it is below 9: 0.5 less what the cap takes away.
            prop_assert!((mean - DELAY_NS as f64 - 0.495 * JITTER_NS as f64).abs() < 0.03 * JITTER_NS as f64, "mean {mean}");
            // P(extra > 1 jitter) is 1/8.
            let tail = values.iter().filter(|v| **v > (DELAY_NS + JITTER_NS) as f64).count() as f64 / MANY as f64;
            prop_assert!((tail - 0.125).abs() < 0.01, "{tail} beyond twice");
        }

        #[test]
        fn no_delay_is_negative_or_overflows(distribution in 0u8..4, seed: u64, n: u64, delay in 0u64..1 << 40, jitter in 0u64..1 << 40) {
            let taken = delay_of(distribution, seed, n, delay, jitter);
            prop_assert!(taken <= delay + 10 * jitter);
            prop_assert_eq!(taken, delay_of(distribution, seed, n, delay, jitter));
        }
    }
}
