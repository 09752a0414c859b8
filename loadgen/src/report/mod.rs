//! What a run came to, as JSON for programs and text for people.

mod csv;
mod diff;
mod html;
mod series;
mod text;

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use csv::csv;
pub use diff::diff;
pub use html::html;
pub use series::{Moment, Series};
pub use text::{Progress, line, text};

use crate::{
    stats::{ErrorKind, Stats, Times},
    threshold::Verdict,
    workload::Workload,
};

/// The form of the JSON; it grows when something is taken away or means something else.
pub const VERSION: u32 = 1;

/// How late the generator may be with 1 % of its requests before it, and not the target, is what was measured.
const LATE: Duration = Duration::from_millis(5);
/// The share of what was due that may be dropped for want of a connection.
const DROPPED: f64 = 0.001;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The shape's name.
    pub name: Option<String>,
    /// Where the requests went.
    pub target: String,
    /// Where chance decided: the same seed sends the same requests at the same planned times.
    pub seed: u64,
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
    /// Requests that were sent because one before had failed.
    pub retries: u64,
    /// Requests whose client went away before the answer, on purpose.
    pub abandoned: u64,
    /// By journey.
    pub journeys: Vec<JourneyReport>,
    /// By step of a journey.
    pub endpoints: Vec<EndpointReport>,
    /// The slowest of the requests that the target was told to trace.
    pub slowest: Vec<SlowTraceReport>,
    /// How it went over time.
    pub series: Vec<Moment>,
    /// Why the figures are not the target's; empty where they are.
    pub invalid: Vec<String>,
    /// How the conditions came out.
    pub thresholds: Vec<Verdict>,
}

/// What became of journeys of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JourneyReport {
    /// Its name.
    pub name: String,
    /// Those that have begun.
    pub begun: u64,
    /// Those that came to their end as they should.
    pub completed: u64,
    /// Those that ended with an error, whatever was tried again.
    pub failed: u64,
    /// From when the first request was due to the end, pauses and repetitions included; of those that were completed.
    pub times: Distribution,
}

/// What became of the requests of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointReport {
    /// The journey's name.
    pub journey: String,
    /// The step's.
    pub name: String,
    /// Requests that were due.
    pub due: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// From when a request was due to the end of its answer.
    pub response: Distribution,
    /// From when it was sent.
    pub service: Distribution,
}

/// A slow request, and the trace to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SlowTraceReport {
    /// The trace's id, 32 hexadecimal digits.
    pub trace_id: String,
    /// The step's name.
    pub name: String,
    /// From when it was due to the end of its answer.
    pub response_ns: u64,
}

/// What a run was, apart from what came of it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The shape's name.
    pub name: Option<&'a str>,
    /// Where the requests went.
    pub target: &'a str,
    /// What clients did.
    pub workload: &'a Workload,
}

/// Times of one kind, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    pub fn new(
        about: &About<'_>,
        elapsed: Duration,
        stats: &Stats,
        series: Vec<Moment>,
        thresholds: Vec<Verdict>,
    ) -> Self {
        let workload = about.workload;
        let journeys = workload.journeys.iter().zip(&stats.journeys);
        let steps = workload.journeys.iter().flat_map(|journey| {
            let steps = journey.steps.iter();
            steps.map(|step| (journey.name.as_str(), step.name.as_str()))
        });
        let steps: Vec<_> = steps.collect();
        Self {
            version: VERSION,
            name: about.name.map(str::to_owned),
            target: about.target.to_owned(),
            seed: workload.seed,
            elapsed_s: elapsed.as_secs_f64(),
            due: stats.due,
            sent: stats.sent,
            answered: stats.answered(),
            asked_per_second: stats.due as f64 / elapsed.as_secs_f64().max(1e-9),
            answered_per_second: stats.answered_per_second(elapsed),
            errors: named(&stats.errors),
            error_share: stats.error_share(),
            statuses: stats.statuses.clone(),
            response: (&stats.response).into(),
            service: (&stats.service).into(),
            schedule: (&stats.schedule).into(),
            connections: stats.connections,
            body_bytes: stats.body_bytes,
            retries: stats.retries,
            abandoned: stats.abandoned,
            journeys: journeys
                .map(|(journey, stats)| JourneyReport {
                    name: journey.name.clone(),
                    begun: stats.begun,
                    completed: stats.completed,
                    failed: stats.failed,
                    times: (&stats.times).into(),
                })
                .collect(),
            endpoints: steps
                .iter()
                .zip(&stats.endpoints)
                .map(|((journey, name), stats)| EndpointReport {
                    journey: (*journey).to_owned(),
                    name: (*name).to_owned(),
                    due: stats.due,
                    statuses: stats.statuses.clone(),
                    errors: named(&stats.errors),
                    response: (&stats.response).into(),
                    service: (&stats.service).into(),
                })
                .collect(),
            slowest: stats
                .slowest
                .iter()
                .map(|trace| SlowTraceReport {
                    trace_id: format!("{:032x}", trace.trace_id),
                    name: steps
                        .get(trace.endpoint)
                        .map_or_else(String::new, |(_, name)| (*name).to_owned()),
                    response_ns: ns(trace.response),
                })
                .collect(),
            series,
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

/// The JSON Schema of a report (draft 2020-12).
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Report);
    // A schema is JSON already.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn named(errors: &BTreeMap<ErrorKind, u64>) -> BTreeMap<String, u64> {
    errors
        .iter()
        .map(|(kind, count)| (kind.name().to_owned(), *count))
        .collect()
}

/// Why the generator, and not the target, may be what was measured.
fn invalid(stats: &Stats) -> Vec<String> {
    let mut why = Vec::new();
    let late = stats.schedule.quantile(0.99);
    if late > LATE {
        why.push(format!(
            "1 % of the requests were more than {} late by the generator's own fault: it needs more CPU, or a lower rate",
            text::time(ns(late))
        ));
    }
    let dropped = stats
        .errors
        .get(&ErrorKind::Dropped)
        .copied()
        .unwrap_or_default();
    if dropped as f64 > stats.due as f64 * DROPPED {
        why.push(format!(
            "{dropped} requests were not sent for want of a connection: allow more with --connections"
        ));
    }
    why
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{http::Template, workload::Step};

    /// A report of what was measured, of one request over and over.
    pub(crate) fn report(stats: &Stats, thresholds: Vec<Verdict>) -> Report {
        let workload = Workload::of(Step::new("GET /", Template::raw(b"")), 1);
        let about = About {
            name: None,
            target: "http://t/",
            workload: &workload,
        };
        Report::new(
            &about,
            Duration::from_secs(1),
            stats,
            Vec::new(),
            thresholds,
        )
    }

    #[test]
    fn a_generator_that_is_late_or_drops_says_so() {
        let mut stats = Stats::default();
        for _ in 0..1_000 {
            stats.due += 1;
            stats.schedule.record(Duration::from_micros(50));
        }
        assert!(invalid(&stats).is_empty());
        (0..2).for_each(|_| stats.error(0, ErrorKind::Dropped));
        assert_eq!(invalid(&stats).len(), 1);
        (0..20).for_each(|_| stats.schedule.record(Duration::from_millis(7)));
        assert_eq!(invalid(&stats).len(), 2);
    }

    #[test]
    fn json_is_read_as_it_was_written() {
        let mut stats = Stats::new(1, 1);
        let ms = Duration::from_millis(3);
        stats.answer(0, 200, ms, ms);
        let report = report(&stats, Vec::new());
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(!report.response.points.is_empty());
        assert_eq!(report.endpoints[0].response.count, 1);
    }

    /// `observastack-loadgen schema > docs/loadgen-report.schema.json` brings it up to date.
    #[test]
    fn the_published_schema_is_the_one_of_these_types() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/loadgen-report.schema.json"
        );
        let published = std::fs::read_to_string(file).unwrap();
        assert_eq!(published, schema());
    }
}
