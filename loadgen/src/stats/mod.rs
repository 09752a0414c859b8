//! What is measured: times in HDR histograms, outcomes in counters. Each worker has its own; they are added up to be looked at.

mod times;

use std::collections::BTreeMap;
use std::time::Duration;

pub use times::Times;

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
    /// The answer does not say what it should.
    Check,
    /// There was no room to wait for a connection: the request was not sent.
    Dropped,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::Closed,
        Self::Protocol,
        Self::Status,
        Self::Check,
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
            Self::Check => "check",
            Self::Dropped => "dropped",
        }
    }
}

/// What is measured of the requests of one step of one journey.
#[derive(Clone, Debug, Default)]
pub struct EndpointStats {
    /// From when a request was due to the end of its answer.
    pub response: Times,
    /// From when it was sent.
    pub service: Times,
    /// Requests that were due.
    pub due: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Errors by kind.
    pub errors: BTreeMap<ErrorKind, u64>,
}

impl EndpointStats {
    fn add(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.due += other.due;
        add_counts(&mut self.statuses, &other.statuses);
        add_counts(&mut self.errors, &other.errors);
    }

    fn clear(&mut self) {
        self.response.clear();
        self.service.clear();
        self.due = 0;
        self.statuses.clear();
        self.errors.clear();
    }
}

/// What is measured of one kind of journey.
#[derive(Clone, Debug, Default)]
pub struct JourneyStats {
    /// Those that have begun.
    pub begun: u64,
    /// Those that came to their end as they should.
    pub completed: u64,
    /// Those that ended with an error, whatever was tried again.
    pub failed: u64,
    /// From when its first request was due to its end, pauses and repetitions included; of those that were completed.
    pub times: Times,
}

impl JourneyStats {
    fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.completed += other.completed;
        self.failed += other.failed;
        self.times.add(&other.times);
    }

    fn clear(&mut self) {
        (self.begun, self.completed, self.failed) = (0, 0, 0);
        self.times.clear();
    }
}

/// A request that is recorded as a trace by the target, and how long its answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlowTrace {
    /// From when it was due.
    pub response: Duration,
    /// Its trace.
    pub trace_id: u128,
    /// Which step of which journey.
    pub endpoint: usize,
}

/// How many of the slowest traces are kept.
const SLOWEST: usize = 10;

fn add_counts<K: Copy + Ord>(counts: &mut BTreeMap<K, u64>, others: &BTreeMap<K, u64>) {
    for (key, count) in others {
        *counts.entry(*key).or_default() += count;
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
    /// Requests that were sent because one before had failed.
    pub retries: u64,
    /// Requests whose client went away before the answer, on purpose.
    pub abandoned: u64,
    /// By step, in the order of the workload's.
    pub endpoints: Vec<EndpointStats>,
    /// By journey, in the order of the workload's.
    pub journeys: Vec<JourneyStats>,
    /// The slowest of those with a trace, the slowest first.
    pub slowest: Vec<SlowTrace>,
}

impl Stats {
    /// Of a workload with so many steps and journeys.
    #[must_use]
    pub fn new(endpoints: usize, journeys: usize) -> Self {
        Self {
            endpoints: vec![EndpointStats::default(); endpoints],
            journeys: vec![JourneyStats::default(); journeys],
            ..Self::default()
        }
    }

    /// Counts a request that is due.
    pub fn is_due(&mut self, endpoint: usize) {
        self.due += 1;
        if let Some(of) = self.endpoints.get_mut(endpoint) {
            of.due += 1;
        }
    }

    /// Takes back a request that was due: it will not be sent, since the run has been stopped.
    pub fn is_not_due(&mut self, endpoint: usize) {
        self.due -= 1;
        if let Some(of) = self.endpoints.get_mut(endpoint) {
            of.due -= 1;
        }
    }

    /// Counts an error of a request.
    pub fn error(&mut self, endpoint: usize, kind: ErrorKind) {
        *self.errors.entry(kind).or_default() += 1;
        if let Some(of) = self.endpoints.get_mut(endpoint) {
            *of.errors.entry(kind).or_default() += 1;
        }
    }

    /// Counts an answer, which took so long from when it was due, and from when it was sent.
    pub fn answer(&mut self, endpoint: usize, status: u16, response: Duration, service: Duration) {
        self.response.record(response);
        self.service.record(service);
        *self.statuses.entry(status).or_default() += 1;
        if let Some(of) = self.endpoints.get_mut(endpoint) {
            of.response.record(response);
            of.service.record(service);
            *of.statuses.entry(status).or_default() += 1;
        }
    }

    /// Keeps a trace where it is one of the slowest.
    pub fn traced(&mut self, trace: SlowTrace) {
        let at = self.slowest.partition_point(|known| *known > trace);
        if at < SLOWEST {
            self.slowest.insert(at, trace);
            self.slowest.truncate(SLOWEST);
        }
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

    /// Adds another worker's, or a later time's, without what is told apart by step and journey, and of the times only the response times:
    /// for those who look often.
    pub fn add_briefly(&mut self, other: &Self) {
        self.response.add(&other.response);
        self.due += other.due;
        self.sent += other.sent;
        add_counts(&mut self.statuses, &other.statuses);
        add_counts(&mut self.errors, &other.errors);
        self.connections += other.connections;
        self.body_bytes += other.body_bytes;
        self.retries += other.retries;
        self.abandoned += other.abandoned;
    }

    /// Adds another worker's, or a later time's.
    pub fn add(&mut self, other: &Self) {
        self.add_briefly(other);
        self.service.add(&other.service);
        self.schedule.add(&other.schedule);
        let endpoints = self.endpoints.len().max(other.endpoints.len());
        self.endpoints.resize_with(endpoints, Default::default);
        for (mine, others) in self.endpoints.iter_mut().zip(&other.endpoints) {
            mine.add(others);
        }
        let journeys = self.journeys.len().max(other.journeys.len());
        self.journeys.resize_with(journeys, Default::default);
        for (mine, others) in self.journeys.iter_mut().zip(&other.journeys) {
            mine.add(others);
        }
        other.slowest.iter().for_each(|trace| self.traced(*trace));
    }

    /// Forgets everything, and keeps the memory.
    pub fn clear(&mut self) {
        self.response.clear();
        self.service.clear();
        self.schedule.clear();
        self.statuses.clear();
        self.errors.clear();
        self.endpoints.iter_mut().for_each(EndpointStats::clear);
        self.journeys.iter_mut().for_each(JourneyStats::clear);
        self.slowest.clear();
        (self.due, self.sent, self.connections, self.body_bytes) = (0, 0, 0, 0);
        (self.retries, self.abandoned) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up() {
        let (mut one, mut other) = (Stats::default(), Stats::default());
        one.error(0, ErrorKind::Timeout);
        other.error(0, ErrorKind::Timeout);
        let ms = Duration::from_millis(3);
        other.answer(0, 200, ms, ms);
        one.add(&other);
        assert_eq!(
            (one.failed(), one.answered(), one.response.count()),
            (2, 1, 1)
        );
        other.clear();
        assert_eq!((other.failed(), other.response.count()), (0, 0));
    }

    #[test]
    fn the_slowest_traces_are_kept_slowest_first() {
        let mut stats = Stats::default();
        for ms in [5, 1, 9, 7, 3, 2, 8, 4, 6, 11, 10, 12] {
            stats.traced(SlowTrace {
                response: Duration::from_millis(ms),
                trace_id: 1,
                endpoint: 0,
            });
        }
        let kept: Vec<_> = stats
            .slowest
            .iter()
            .map(|trace| trace.response.as_millis())
            .collect();
        assert_eq!(kept, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    }
}
