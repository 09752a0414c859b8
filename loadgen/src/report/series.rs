//! How a run went over time.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ns;
use crate::stats::{ErrorKind, Stats};

/// Points that are kept at most; a longer run has longer intervals.
const POINTS: u32 = 3_600;

/// What was measured in an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// When it began, in seconds since the run did.
    pub at_s: f64,
    /// How long it is.
    pub length_s: f64,
    /// Journeys a second that were asked for in its middle; none in a closed loop.
    pub rate: Option<f64>,
    /// Requests that were due.
    pub due: u64,
    /// Answers.
    pub answered: u64,
    /// Errors of every kind.
    pub errors: u64,
    /// Those that were not even sent.
    pub dropped: u64,
    /// Requests that were repetitions.
    pub retries: u64,
    /// Quantiles of the response times; 0 without answers.
    pub p50_ns: u64,
    /// 95 % are no longer than this.
    pub p95_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Gathers what is measured into intervals.
#[derive(Debug)]
pub struct Series {
    interval: Duration,
    begun: Duration,
    current: Stats,
    moments: Vec<Moment>,
}

impl Series {
    /// Of a run that takes so long: an interval is a second or more.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let seconds = (length.as_secs_f64() / f64::from(POINTS)).ceil().max(1.0);
        Self::with_interval(Duration::from_secs_f64(seconds))
    }

    /// Of intervals that are so long.
    #[must_use]
    pub fn with_interval(interval: Duration) -> Self {
        Self {
            interval,
            begun: Duration::ZERO,
            current: Stats::default(),
            moments: Vec::new(),
        }
    }

    /// Adds what was measured.
    pub fn add(&mut self, stats: &Stats) {
        self.current.add_briefly(stats);
    }

    /// Begins another interval where this one is over; `rate` is what was asked for at a time.
    pub fn go_on(&mut self, now: Duration, rate: impl Fn(Duration) -> Option<f64>) {
        if now >= self.begun + self.interval {
            self.close(now, rate);
        }
    }

    /// All of them, the last one as long as it is by now.
    #[must_use]
    pub fn finish(mut self, now: Duration, rate: impl Fn(Duration) -> Option<f64>) -> Vec<Moment> {
        if self.current.due > 0 || self.current.answered() > 0 {
            self.close(now, rate);
        }
        self.moments
    }

    /// Takes the last whole interval away, and forgets those before it.
    pub fn take(&mut self) -> Option<Moment> {
        let last = self.moments.pop();
        self.moments.clear();
        last
    }

    fn close(&mut self, now: Duration, rate: impl Fn(Duration) -> Option<f64>) {
        let stats = &self.current;
        let length = now.saturating_sub(self.begun);
        let at = |share| ns(stats.response.quantile(share));
        self.moments.push(Moment {
            at_s: self.begun.as_secs_f64(),
            length_s: length.as_secs_f64(),
            rate: rate(self.begun + length / 2),
            due: stats.due,
            answered: stats.answered(),
            errors: stats.failed(),
            dropped: stats
                .errors
                .get(&ErrorKind::Dropped)
                .copied()
                .unwrap_or_default(),
            retries: stats.retries,
            p50_ns: at(0.5),
            p95_ns: at(0.95),
            p99_ns: at(0.99),
            max_ns: ns(stats.response.max()),
        });
        self.begun = now;
        self.current.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_told_apart_by_the_second() {
        let mut series = Series::new(Duration::from_secs(10));
        let mut stats = Stats::default();
        let tenths = |count: u64| Duration::from_millis(100 * count);
        for tenth in 1..=25 {
            stats.clear();
            stats.due = 1;
            let time = if tenth <= 10 { 1 } else { 5 };
            let time = Duration::from_millis(time);
            stats.answer(0, 200, time, time);
            series.add(&stats);
            series.go_on(tenths(tenth), |at| Some(at.as_secs_f64()));
        }
        let moments = series.finish(tenths(25), |_| None);
        let counts: Vec<_> = moments.iter().map(|moment| moment.answered).collect();
        assert_eq!(counts, [10, 10, 5]);
        assert!(moments[0].p99_ns < 1_100_000 && moments[1].p50_ns > 4_900_000);
        assert_eq!((moments[0].rate, moments[2].at_s), (Some(0.5), 2.0));
    }

    #[test]
    fn a_long_run_has_long_intervals() {
        let series = Series::new(Duration::from_secs(24 * 3_600));
        assert_eq!(series.interval, Duration::from_secs(24));
    }
}
