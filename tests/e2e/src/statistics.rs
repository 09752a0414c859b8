//! How far chance may go.

/// The counts of `n` events of probability `p` that lie within the 99 % interval of the binomial distribution.
///
/// The normal approximation with the correction for whole numbers; good for the n·p·(1-p) ≥ 100 of the tests here.
pub(crate) fn interval_99(n: u64, p: f64) -> std::ops::RangeInclusive<u64> {
    const Z_99: f64 = 2.5758;
    let mean = n as f64 * p;
    let reach = Z_99 * (mean * (1.0 - p)).sqrt() + 0.5;
    (mean - reach).ceil().max(0.0) as u64..=(mean + reach).floor() as u64
}

/// The value that `share` (0 to 1) of the values don't exceed: nearest rank.
pub(crate) fn percentile<T: Ord + Copy>(values: &mut [T], share: f64) -> Option<T> {
    values.sort_unstable();
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_5000_at_20_percent() {
        // Exact binomial quantiles at 0.5 % and 99.5 %: 928 and 1073.
        assert_eq!(interval_99(5_000, 0.2), 927..=1_073);
    }

    #[test]
    fn the_99th_percentile_of_100_is_the_second_largest() {
        let mut values: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut values, 0.99), Some(99));
        assert_eq!(percentile(&mut values[..1], 0.99), Some(1));
        assert_eq!(percentile::<u32>(&mut [], 0.99), None);
    }
}
