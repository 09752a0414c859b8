//! What the store keeps: rows, as the receivers make them and the writer binds them.

use std::sync::Arc;

/// What a span, a log record or a profile says about its sender. Shared by everything in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resource {
    /// `service.name`, or `unknown_service`.
    pub service: String,
    /// The systemd unit (`systemd.unit`), or the service where the sender does not say.
    pub unit: String,
    /// Every attribute, as a JSON object.
    pub attributes: String,
}

/// One span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanRow {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Itself.
    pub span_id: [u8; 8],
    /// The span it belongs to; none for a root.
    pub parent_span_id: Option<[u8; 8]>,
    /// Its sender.
    pub resource: Arc<Resource>,
    /// The operation.
    pub name: String,
    /// The instrumentation scope's name.
    pub scope: Arc<str>,
    /// OTLP's span kind: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// Start, nanoseconds since the epoch.
    pub start_ns: i64,
    /// End minus start; 0 where the clock went backwards.
    pub duration_ns: i64,
    /// OTLP's status: 0 unset, 1 ok, 2 error.
    pub status: i32,
    /// The status's message.
    pub status_message: String,
    /// Attributes, as a JSON object.
    pub attributes: String,
    /// Events, as a JSON array; empty for none.
    pub events: String,
    /// Links, as a JSON array; empty for none.
    pub links: String,
    /// What a client span calls that has no spans of its own: a database's name.
    pub peer: Option<String>,
}

/// One log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// When it happened, nanoseconds since the epoch.
    pub time_ns: i64,
    /// OTLP's severity number, 1 to 24; 0 where the sender does not say.
    pub severity: i32,
    /// Its sender.
    pub resource: Arc<Resource>,
    /// The trace that it was written in.
    pub trace_id: Option<[u8; 16]>,
    /// The span that it was written in.
    pub span_id: Option<[u8; 8]>,
    /// The text; anything else than a string is JSON.
    pub body: String,
    /// Attributes, as a JSON object.
    pub attributes: String,
}

/// One profile, as it was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRow {
    /// `service_name`.
    pub service: String,
    /// What was measured, e.g. `process_cpu`.
    pub kind: String,
    /// Start, nanoseconds since the epoch.
    pub start_ns: i64,
    /// All labels, as a JSON object.
    pub labels: String,
    /// The pprof, gzipped or not, as it came.
    pub pprof: Vec<u8>,
}

/// What is received, forwarded and counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Data points.
    Metrics,
    /// Profiles.
    Profiles,
}

impl Signal {
    /// The label of this signal on metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Profiles => "profiles",
        }
    }
}

/// Rows of one request.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Spans.
    Spans(Vec<SpanRow>),
    /// Log records.
    Logs(Vec<LogRow>),
    /// Profiles.
    Profiles(Vec<ProfileRow>),
}

impl Batch {
    /// Which signal they are.
    #[must_use]
    pub fn signal(&self) -> Signal {
        match self {
            Self::Spans(_) => Signal::Traces,
            Self::Logs(_) => Signal::Logs,
            Self::Profiles(_) => Signal::Profiles,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn items(&self) -> usize {
        match self {
            Self::Spans(rows) => rows.len(),
            Self::Logs(rows) => rows.len(),
            Self::Profiles(rows) => rows.len(),
        }
    }

    /// About how much memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Spans(rows) => rows.iter().map(span_bytes).sum(),
            Self::Logs(rows) => rows
                .iter()
                .map(|row| size_of::<LogRow>() + row.body.len() + row.attributes.len())
                .sum(),
            Self::Profiles(rows) => rows
                .iter()
                .map(|row| size_of::<ProfileRow>() + row.labels.len() + row.pprof.len())
                .sum(),
        }
    }
}

fn span_bytes(row: &SpanRow) -> usize {
    size_of::<SpanRow>()
        + row.name.len()
        + row.status_message.len()
        + row.attributes.len()
        + row.events.len()
        + row.links.len()
}
