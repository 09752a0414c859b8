//! Quantiles of a few hundred measurements.

/// Measurements of one thing, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    pub(crate) fn push(&mut self, value_ns: u64) {
        self.0.push(value_ns);
    }

    /// The smallest value that at least this share of the measurements does not exceed.
    pub(crate) fn quantile_ns(&self, share: f64) -> u64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .or(sorted.last())
            .copied()
            .unwrap_or(0)
    }

    /// A row of a Markdown table: name, number, median, p99, largest, in milliseconds.
    pub(crate) fn row_ms(&self, name: &str) -> String {
        let ms = |share| self.quantile_ns(share) as f64 / 1e6;
        format!(
            "| {name} | {} | {:.2} | {:.2} | {:.2} |",
            self.0.len(),
            ms(0.5),
            ms(0.99),
            ms(1.0)
        )
    }
}

/// The middle one of some numbers, the lower of two; 0 of none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or(0.0)
}

/// Now, in nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements() {
        let mut samples = Samples::default();
        (1..=100).rev().for_each(|value| samples.push(value));
        assert_eq!(samples.quantile_ns(0.5), 50);
        assert_eq!(samples.quantile_ns(0.99), 99);
        assert_eq!(samples.quantile_ns(1.0), 100);
        assert_eq!(Samples::default().quantile_ns(0.5), 0);
        assert_eq!(median(&[3.0, -1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(&[]), 0.0);
    }
}
