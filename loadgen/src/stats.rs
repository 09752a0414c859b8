//! What is measured: times in HDR histograms, outcomes in counters. Each worker has its own; they are added up to be looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest time that is told apart.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// Digits that are kept of a time: 0.1 %.
const DIGITS: u8 = 3;

/// Why a request has no answer, or not the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// No connection came about.
    Connect,
    /// The answer was not there in time.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// The answer is no HTTP.
    Protocol,
    /// The status is not one of those that were asked for.
    Status,
    /// There was no room to wait for a connection: the request was not sent.
    Dropped,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Timeout,
        Self::Closed,
        Self::Protocol,
        Self::Status,
        Self::Dropped,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Dropped => "dropped",
        }
    }
}

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
        self.0.iter_quantiles(2).map(|point| {
            let time = Duration::from_nanos(point.value_iterated_to());
            (point.quantile_iterated_to(), time)
        })
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
        // All have the same bounds, so it cannot fail.
        let _ = self.0.add(&other.0);
    }
}

/// Everything that is measured.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// From when a request was due to the end of its answer: what a client would have waited.
    pub response: Times,
    /// From when it was sent: what the target took.
    pub service: Times,
    /// How late the generator itself was with it, before it looked for a connection.
    pub schedule: Times,
    /// Requests that were due.
    pub due: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Errors by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
    /// Connections that were opened.
    pub connections: u64,
    /// Bytes of bodies.
    pub body_bytes: u64,
}

impl Stats {
    /// Counts an error.
    pub fn error(&mut self, kind: ErrorKind) {
        *self.errors.entry(kind).or_default() += 1;
    }

    /// Every error.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Answers of any status.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// The share of what was due that failed.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        self.failed() as f64 / self.due.max(1) as f64
    }

    /// Answers a second.
    #[must_use]
    pub fn answered_per_second(&self, elapsed: Duration) -> f64 {
        self.answered() as f64 / elapsed.as_secs_f64().max(1e-9)
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.schedule.add(&other.schedule);
        self.due += other.due;
        self.sent += other.sent;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(*kind).or_default() += count;
        }
        self.connections += other.connections;
        self.body_bytes += other.body_bytes;
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

    #[test]
    fn workers_are_added_up() {
        let (mut one, mut other) = (Stats::default(), Stats::default());
        one.error(ErrorKind::Timeout);
        other.error(ErrorKind::Timeout);
        other.response.record(Duration::from_millis(3));
        other.statuses.insert(200, 1);
        one.add(&other);
        assert_eq!(
            (one.failed(), one.answered(), one.response.count()),
            (2, 1, 1)
        );
    }
}
