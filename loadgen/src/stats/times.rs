//! Times in an HDR histogram.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest time that is told apart.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Digits that are kept of a time: 0.1 %.
const DIGITS: u8 = 3;

/// Times of one kind.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    #[expect(
        clippy::expect_used,
        reason = "the bounds are constants, which every test makes one with"
    )]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("constant bounds"))
    }
}

impl Times {
    /// Adds one; what is longer than an hour counts as an hour.
    pub fn record(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(ns.clamp(1, LONGEST_NS));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this share of them does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// Points of the distribution, nearer to each other towards its end: the share and the time that it does not exceed.
    pub fn points(&self) -> impl Iterator<Item = (f64, Duration)> + '_ {
        self.0.iter_quantiles(5).map(|point| {
            let time = Duration::from_nanos(point.value_iterated_to());
            (point.quantile_iterated_to(), time)
        })
    }

    /// How many are no longer than this, as far as they are told apart.
    #[must_use]
    pub fn count_up_to(&self, time: Duration) -> u64 {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.count_between(0, ns.min(LONGEST_NS))
    }

    /// Their mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        // Only what is there, up to the longest: the library's own addition walks through all that could be.
        for recorded in other.0.iter_recorded() {
            self.0
                .saturating_record_n(recorded.value_iterated_to(), recorded.count_at_value());
        }
    }

    /// Forgets all of them, and keeps the memory.
    pub fn clear(&mut self) {
        if !self.0.is_empty() {
            self.0.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_three_digits() {
        let mut times = Times::default();
        for ms in 1..=1_000 {
            times.record(Duration::from_millis(ms));
        }
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = times.quantile(share).as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.002, "{share}: {found}");
        }
        times.record(Duration::from_secs(100_000));
        assert!(times.max() >= Duration::from_secs(3_590));
        assert_eq!(times.count(), 1_001);
    }
}
