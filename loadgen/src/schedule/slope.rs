//! A rate that somebody has set while a load runs.

use std::time::Duration;

use super::profile::Segment;

/// A rate that goes evenly to another one from a moment on, and stays there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    since: Duration,
    ramp: Segment,
}

impl Slope {
    /// From a rate to another one, `since` a moment and `over` so long; at once where that is nothing.
    #[must_use]
    pub const fn new(since: Duration, from: f64, to: f64, over: Duration) -> Self {
        let ramp = Segment {
            length: over,
            from,
            to,
        };
        Self { since, ramp }
    }

    /// Where it goes.
    #[must_use]
    pub const fn goal(&self) -> f64 {
        self.ramp.to
    }

    fn end(&self) -> Duration {
        self.since.saturating_add(self.ramp.length)
    }

    /// The rate at a moment.
    #[must_use]
    pub fn rate_at(&self, at: Duration) -> f64 {
        if at >= self.end() {
            return self.ramp.to;
        }
        let share = at.saturating_sub(self.since).as_secs_f64() / self.ramp.length.as_secs_f64();
        self.ramp.from + (self.ramp.to - self.ramp.from) * share
    }

    /// When so many arrivals have come after a moment; the end of time where they never do.
    #[must_use]
    pub fn after(&self, at: Duration, count: f64) -> Duration {
        let at = at.max(self.since);
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let rest = Segment {
            length: self.end().saturating_sub(at),
            from: self.rate_at(at),
            to: self.ramp.to,
        };
        let has = rest.arrivals();
        if count < has {
            return at.saturating_add(seconds(rest.seconds_until(count)));
        }
        if self.ramp.to <= 0.0 {
            return Duration::MAX;
        }
        let later = seconds((count - has) / self.ramp.to);
        at.max(self.end()).saturating_add(later)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_goes_evenly_and_stays() {
        let slope = Slope::new(seconds(100), 40.0, 240.0, seconds(20));
        let rates = [90, 100, 105, 110, 120, 500].map(|at| slope.rate_at(seconds(at)));
        assert_eq!(rates, [40.0, 40.0, 90.0, 140.0, 240.0, 240.0]);
        // 140 a second on average.
        assert_eq!(slope.after(seconds(100), 2_800.0), seconds(120));
        assert_eq!(slope.after(seconds(100), 2_800.0 + 240.0), seconds(121));
        assert_eq!(
            slope.after(seconds(130), 120.0),
            Duration::from_millis(130_500)
        );
        let at_once = Slope::new(seconds(5), 1.0, 4.0, Duration::ZERO);
        assert_eq!(at_once.rate_at(seconds(5)), 4.0);
        assert_eq!(at_once.after(seconds(5), 1.0), Duration::from_millis(5_250));
    }

    #[test]
    fn what_goes_to_nothing_ends() {
        let slope = Slope::new(seconds(0), 100.0, 0.0, seconds(10));
        assert_eq!(slope.after(seconds(0), 375.0), seconds(5));
        assert_eq!(slope.after(seconds(0), 500.0), Duration::MAX);
        assert_eq!(slope.after(seconds(10), 0.0), Duration::MAX);
        let nothing = Slope::new(seconds(0), 0.0, 0.0, seconds(10));
        assert_eq!(nothing.after(seconds(3), 0.0), Duration::MAX);
        let up = Slope::new(seconds(0), 0.0, 100.0, seconds(10));
        assert_eq!(up.after(seconds(0), 125.0), seconds(5));
    }

    proptest! {
        /// One step is as good as two: nothing is lost or done twice where the ramp ends.
        #[test]
        fn counts_add_up(
            from in 0.0_f64..5_000.0, to in 0.1_f64..5_000.0, over in 0_u64..60_000,
            at in 0_u64..80_000, one in 0.0_f64..50_000.0, other in 0.0_f64..50_000.0,
        ) {
            let slope = Slope::new(seconds(10), from, to, Duration::from_millis(over));
            let at = Duration::from_millis(at);
            let twice = slope.after(slope.after(at, one), other).as_secs_f64();
            let once = slope.after(at, one + other).as_secs_f64();
            prop_assert!((once - twice).abs() < 1e-3 * (1.0 + once), "{once} and {twice}");
        }
    }
}
