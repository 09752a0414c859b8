//! Traces: found by what one of their spans is, and shown whole.

use std::time::Duration;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, params, params_from_iter};
use serde::Serialize;
use serde_json::Value;

use super::{Conditions, Range, Searched, hex_of, json_of, slices};
use crate::convert::hex;

/// Spans of one trace that are shown at most.
const SPANS: i64 = 10_000;

/// What one span of a trace must be. Every condition holds for the same span.
#[derive(Clone, Debug)]
pub struct TraceSearch {
    /// Its service.
    pub service: Option<String>,
    /// Its name.
    pub operation: Option<String>,
    /// It took this long or longer.
    pub min_duration_ns: Option<i64>,
    /// It took this long or less.
    pub max_duration_ns: Option<i64>,
    /// OTLP's status: 0 unset, 1 ok, 2 error.
    pub status: Option<i32>,
    /// Attributes of the span or its resource, as text.
    pub attributes: Vec<(String, String)>,
    /// When it came.
    pub range: Range,
    /// Traces at most, the newest first.
    pub limit: usize,
    /// How long to search.
    pub time: Duration,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct TracesFound {
    /// Newest first.
    pub traces: Vec<TraceSummary>,
    /// How far the search got.
    #[serde(flatten)]
    pub searched: Searched,
}

/// A trace in a list.
#[derive(Clone, Debug, Serialize)]
pub struct TraceSummary {
    /// Its id, in hexadecimal.
    pub trace_id: String,
    /// The root span's service, or the earliest span's.
    pub service: String,
    /// That span's name.
    pub operation: String,
    /// When its first span began.
    pub start_us: i64,
    /// From there to the end of its last span.
    pub duration_ns: i64,
    /// How many spans it has here.
    pub spans: usize,
    /// How many of them are errors.
    pub errors: usize,
}

/// A whole trace.
#[derive(Clone, Debug, Serialize)]
pub struct TraceShown {
    /// Its id, in hexadecimal.
    pub trace_id: String,
    /// By start.
    pub spans: Vec<SpanShown>,
    /// Whether these are all.
    pub complete: bool,
}

/// One span of it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct SpanShown {
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub service: String,
    pub unit: String,
    pub operation: String,
    pub scope: String,
    pub kind: &'static str,
    pub start_us: i64,
    pub duration_ns: i64,
    pub status: &'static str,
    pub status_message: String,
    pub attributes: Value,
    pub events: Value,
    pub links: Value,
    pub resource: Value,
}

/// Finds traces.
///
/// # Errors
/// SQLite's.
pub fn search_traces(
    connection: &Connection,
    search: &TraceSearch,
) -> rusqlite::Result<TracesFound> {
    let conditions = conditions(search);
    let sql = format!(
        "SELECT trace_id FROM spans WHERE id >= ? AND id < ?{} ORDER BY id DESC",
        conditions.sql
    );
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut statement = connection.prepare_cached(&sql)?;
    let searched = slices::search(
        connection,
        "spans",
        search.range,
        search.time,
        |from, to| {
            let values = [Sql::from(from), Sql::from(to)]
                .into_iter()
                .chain(conditions.with(&[]));
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let trace_id: Vec<u8> = row.get(0)?;
                if !found.contains(&trace_id) {
                    found.push(trace_id);
                }
                if found.len() >= search.limit {
                    return Ok(true);
                }
            }
            Ok(false)
        },
    )?;
    let traces = found
        .iter()
        .map(|trace_id| summary(connection, trace_id))
        .collect::<rusqlite::Result<_>>()?;
    Ok(TracesFound { traces, searched })
}

fn conditions(search: &TraceSearch) -> Conditions {
    let mut conditions = Conditions::default();
    if let Some(service) = &search.service {
        conditions.add(
            "resource_id IN (SELECT id FROM resources WHERE service = ?)",
            [Sql::from(service.clone())],
        );
    }
    if let Some(operation) = &search.operation {
        conditions.add("name = ?", [Sql::from(operation.clone())]);
    }
    if let Some(duration_ns) = search.min_duration_ns {
        conditions.add("duration_ns >= ?", [Sql::from(duration_ns)]);
    }
    if let Some(duration_ns) = search.max_duration_ns {
        conditions.add("duration_ns <= ?", [Sql::from(duration_ns)]);
    }
    match search.status {
        // As a literal, which the index of errors wants to see.
        Some(2) => conditions.add("status = 2", []),
        Some(status) => conditions.add("status = ?", [Sql::from(i64::from(status))]),
        None => {}
    }
    for (key, value) in &search.attributes {
        let path = Sql::from(format!("$.\"{key}\""));
        let value = Sql::from(value.clone());
        // Numbers as text; JSON's `true` and `false` would come out as 1 and 0.
        conditions.add(
            "(CAST(attributes ->> ? AS TEXT) = ?
              OR (json_type(attributes, ?) = ? AND json_type(attributes, ?) IN ('true', 'false'))
              OR resource_id IN (SELECT id FROM resources WHERE CAST(attributes ->> ? AS TEXT) = ?))",
            [
                path.clone(),
                value.clone(),
                path.clone(),
                value.clone(),
                path.clone(),
                path,
                value,
            ],
        );
    }
    conditions
}

fn summary(connection: &Connection, trace_id: &[u8]) -> rusqlite::Result<TraceSummary> {
    let mut statement = connection.prepare_cached(
        "SELECT s.start_ns, s.duration_ns, s.status, s.name, r.service FROM spans s
         LEFT JOIN resources r ON r.id = s.resource_id
         WHERE s.trace_id = ? ORDER BY s.parent_span_id IS NOT NULL, s.start_ns LIMIT ?",
    )?;
    let mut rows = statement.query(params![trace_id, SPANS])?;
    let mut summary = TraceSummary {
        trace_id: hex(trace_id),
        service: String::new(),
        operation: String::new(),
        start_us: 0,
        duration_ns: 0,
        spans: 0,
        errors: 0,
    };
    let (mut start_ns, mut end_ns) = (i64::MAX, i64::MIN);
    while let Some(row) = rows.next()? {
        let (start, duration): (i64, i64) = (row.get(0)?, row.get(1)?);
        if summary.spans == 0 {
            summary.operation = row.get(3)?;
            summary.service = row.get::<_, Option<String>>(4)?.unwrap_or_default();
        }
        start_ns = start_ns.min(start);
        end_ns = end_ns.max(start.saturating_add(duration));
        summary.spans += 1;
        summary.errors += usize::from(row.get::<_, i64>(2)? == 2);
    }
    // It may have been evicted since it was found.
    if summary.spans > 0 {
        summary.start_us = start_ns / 1_000;
        summary.duration_ns = end_ns.saturating_sub(start_ns);
    }
    Ok(summary)
}

/// Shows one trace; `None` where no span of it is here.
///
/// # Errors
/// SQLite's.
pub fn trace(connection: &Connection, trace_id: [u8; 16]) -> rusqlite::Result<Option<TraceShown>> {
    let mut statement = connection.prepare_cached(
        "SELECT s.span_id, s.parent_span_id, r.service, r.unit, s.name, s.scope, s.kind, s.start_ns, s.duration_ns,
                s.status, s.status_message, s.attributes, s.events, s.links, r.attributes
         FROM spans s LEFT JOIN resources r ON r.id = s.resource_id
         WHERE s.trace_id = ? ORDER BY s.start_ns LIMIT ?",
    )?;
    let rows = statement.query_map(params![trace_id, SPANS + 1], |row| {
        let text = |index| {
            row.get::<_, Option<String>>(index)
                .map(Option::unwrap_or_default)
        };
        Ok(SpanShown {
            span_id: hex(&row.get::<_, Vec<u8>>(0)?),
            parent_span_id: hex_of(row.get(1)?),
            service: text(2)?,
            unit: text(3)?,
            operation: text(4)?,
            scope: text(5)?,
            kind: kind(row.get(6)?),
            start_us: row.get::<_, i64>(7)? / 1_000,
            duration_ns: row.get(8)?,
            status: status(row.get(9)?),
            status_message: text(10)?,
            attributes: json_of(&text(11)?),
            events: json_of(&text(12)?),
            links: json_of(&text(13)?),
            resource: json_of(&text(14)?),
        })
    })?;
    let mut spans: Vec<SpanShown> = rows.collect::<rusqlite::Result<_>>()?;
    if spans.is_empty() {
        return Ok(None);
    }
    let most = usize::try_from(SPANS).unwrap_or(usize::MAX);
    let complete = spans.len() <= most;
    spans.truncate(most);
    Ok(Some(TraceShown {
        trace_id: hex(&trace_id),
        spans,
        complete,
    }))
}

fn kind(kind: i32) -> &'static str {
    match kind {
        1 => "internal",
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "unspecified",
    }
}

fn status(status: i32) -> &'static str {
    match status {
        1 => "ok",
        2 => "error",
        _ => "unset",
    }
}
