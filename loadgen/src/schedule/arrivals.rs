//! The times of arrivals, one after the other.

use std::time::Duration;

use super::profile::{Cursor, Profile};
use crate::workload::Chance;

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    #[default]
    Even,
    /// As independent clients come: a Poisson process with the profile's rate.
    Poisson,
}

/// Planned times since the beginning, in order.
#[derive(Clone, Debug)]
pub struct Arrivals {
    cursor: Cursor,
    spacing: Spacing,
    random: Chance,
    /// Arrivals of a process with the rate 1 so far.
    count: f64,
    is_first: bool,
}

impl Arrivals {
    /// Of a profile; the seed decides where chance does.
    #[must_use]
    pub fn new(profile: &Profile, spacing: Spacing, seed: u64) -> Self {
        Self {
            cursor: profile.cursor(),
            spacing,
            random: Chance::new(seed),
            count: 0.0,
            is_first: true,
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // A process of any rate is one of the rate 1 on a clock that runs with the rate: its times are looked up there.
        match self.spacing {
            Spacing::Even if self.is_first => self.is_first = false,
            Spacing::Even => self.count += 1.0,
            Spacing::Poisson => self.count += self.random.exponential(),
        }
        self.cursor.time_of(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Segment;

    fn constant(rate: f64, seconds: u64) -> Profile {
        Profile::new([Segment {
            length: Duration::from_secs(seconds),
            from: rate,
            to: rate,
        }])
    }

    #[test]
    fn even_arrivals_come_at_the_rate_from_the_beginning_on() {
        let times: Vec<_> = Arrivals::new(&constant(4.0, 1), Spacing::Even, 0).collect();
        assert_eq!(times, [0, 250, 500, 750].map(Duration::from_millis));
    }

    #[test]
    fn chance_is_the_seeds() {
        let times = |seed| -> Vec<_> {
            Arrivals::new(&constant(1_000.0, 10), Spacing::Poisson, seed).collect()
        };
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
        assert!(times(7).is_sorted());
    }

    #[test]
    fn poisson_arrivals_have_its_mean_and_variance() {
        let times: Vec<_> = Arrivals::new(&constant(1_000.0, 100), Spacing::Poisson, 42).collect();
        // 100,000 expected, with a standard deviation of 316.
        assert!((98_700..=101_300).contains(&times.len()), "{}", times.len());
        let mut in_bin = vec![0_f64; 10_000];
        for time in &times {
            in_bin[(time.as_secs_f64() * 100.0) as usize] += 1.0;
        }
        let mean = in_bin.iter().sum::<f64>() / in_bin.len() as f64;
        let variance = in_bin.iter().map(|n| (n - mean).powi(2)).sum::<f64>() / in_bin.len() as f64;
        // Both are 10 in each of 10,000 bins of 10 ms.
        assert!(
            (mean - 10.0).abs() < 0.15 && (variance - 10.0).abs() < 0.6,
            "{mean}, {variance}"
        );
    }
}
