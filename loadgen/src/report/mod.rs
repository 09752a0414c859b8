//! What a run came to, as JSON for programs and text for people.

mod diff;
mod text;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

pub use diff::diff;
pub use text::{line, text};

use crate::{
    stats::{Stats, Times},
    threshold::Verdict,
};

/// The form of the JSON; it grows when something is taken away or means something else.
pub const VERSION: u32 = 1;

/// How late the generator may be with 1 % of its requests before it, and not the target, is what was measured.
const LATE: Duration = Duration::from_millis(5);
/// The share of what was due that may be dropped for want of a connection.
const DROPPED: f64 = 0.001;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// Where the requests went.
    pub target: String,
    /// How long it took, last answers included.
    pub elapsed_s: f64,
    /// Requests that were due.
    pub due: u64,
    /// Those that were sent.
    pub sent: u64,
    /// Those that were answered, with any status.
    pub answered: u64,
    /// Requests that were due, a second.
    pub asked_per_second: f64,
    /// Answers a second.
    pub answered_per_second: f64,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Errors as a share of what was due.
    pub error_share: f64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// From when a request was due to the end of its answer.
    pub response: Distribution,
    /// From when it was sent.
    pub service: Distribution,
    /// How late the generator was.
    pub schedule: Distribution,
    /// Connections that were opened.
    pub connections: u64,
    /// Bytes of bodies that came.
    pub body_bytes: u64,
    /// Why the figures are not the target's; empty where they are.
    pub invalid: Vec<String>,
    /// How the conditions came out.
    pub thresholds: Vec<Verdict>,
}

/// Times of one kind, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// The median.
    pub p50_ns: u64,
    /// 90 % of them are no longer than this.
    pub p90_ns: u64,
    /// 95 %.
    pub p95_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// 99.9 %.
    pub p99_9_ns: u64,
    /// 99.99 %.
    pub p99_99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// The whole curve: a share, and the time that it does not exceed.
    pub points: Vec<(f64, u64)>,
}

impl From<&Times> for Distribution {
    fn from(times: &Times) -> Self {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let at = |share| ns(times.quantile(share));
        Self {
            count: times.count(),
            mean_ns: ns(times.mean()),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p95_ns: at(0.95),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            p99_99_ns: at(0.999_9),
            max_ns: ns(times.max()),
            points: times
                .points()
                .map(|(share, time)| (share, ns(time)))
                .collect(),
        }
    }
}

impl Report {
    /// Of a run.
    #[must_use]
    pub fn new(target: &str, elapsed: Duration, stats: &Stats, thresholds: Vec<Verdict>) -> Self {
        Self {
            version: VERSION,
            target: target.to_owned(),
            elapsed_s: elapsed.as_secs_f64(),
            due: stats.due,
            sent: stats.sent,
            answered: stats.answered(),
            asked_per_second: stats.due as f64 / elapsed.as_secs_f64().max(1e-9),
            answered_per_second: stats.answered_per_second(elapsed),
            errors: stats
                .errors
                .iter()
                .map(|(kind, count)| (kind.name().to_owned(), *count))
                .collect(),
            error_share: stats.error_share(),
            statuses: stats.statuses.clone(),
            response: (&stats.response).into(),
            service: (&stats.service).into(),
            schedule: (&stats.schedule).into(),
            connections: stats.connections,
            body_bytes: stats.body_bytes,
            invalid: invalid(stats),
            thresholds,
        }
    }

    /// Whether every condition holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.thresholds.iter().all(|verdict| verdict.holds)
    }
}

/// Why the generator, and not the target, may be what was measured.
fn invalid(stats: &Stats) -> Vec<String> {
    use crate::stats::ErrorKind::Dropped;

    let mut why = Vec::new();
    let late = stats.schedule.quantile(0.99);
    if late > LATE {
        why.push(format!(
            "1 % of the requests were more than {} late by the generator's own fault: it needs more CPU, or a lower rate",
            text::time(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX))
        ));
    }
    let dropped = stats.errors.get(&Dropped).copied().unwrap_or_default();
    if dropped as f64 > stats.due as f64 * DROPPED {
        why.push(format!(
            "{dropped} requests were not sent for want of a connection: allow more with --connections"
        ));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ErrorKind;

    #[test]
    fn a_generator_that_is_late_or_drops_says_so() {
        let mut stats = Stats::default();
        for _ in 0..1_000 {
            stats.due += 1;
            stats.schedule.record(Duration::from_micros(50));
        }
        assert!(invalid(&stats).is_empty());
        (0..2).for_each(|_| stats.error(ErrorKind::Dropped));
        assert_eq!(invalid(&stats).len(), 1);
        (0..20).for_each(|_| stats.schedule.record(Duration::from_millis(7)));
        assert_eq!(invalid(&stats).len(), 2);
    }

    #[test]
    fn json_is_read_as_it_was_written() {
        let mut stats = Stats::default();
        stats.response.record(Duration::from_millis(3));
        stats.statuses.insert(200, 1);
        let report = Report::new("http://t/", Duration::from_secs(1), &stats, Vec::new());
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(!report.response.points.is_empty());
    }
}
