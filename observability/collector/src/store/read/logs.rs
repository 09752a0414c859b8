//! Log records.

use std::time::Duration;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use serde_json::Value;

use super::{Conditions, Range, Searched, hex_of, json_of, slices};
use crate::convert::hex;
use crate::model::LogRow;

/// How bad it is: OTLP's names, each the lowest of four numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Unspecified,
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Level {
    /// Every name that can be asked for.
    pub const NAMES: [(&str, Self); 6] = [
        ("trace", Self::Trace),
        ("debug", Self::Debug),
        ("info", Self::Info),
        ("warn", Self::Warn),
        ("error", Self::Error),
        ("fatal", Self::Fatal),
    ];

    /// The level of an OTLP severity number.
    #[must_use]
    pub fn of(severity: i32) -> Self {
        match severity {
            1..=4 => Self::Trace,
            5..=8 => Self::Debug,
            9..=12 => Self::Info,
            13..=16 => Self::Warn,
            17..=20 => Self::Error,
            21.. => Self::Fatal,
            _ => Self::Unspecified,
        }
    }

    /// The lowest severity number of this level.
    #[must_use]
    pub fn severity(self) -> i32 {
        match self {
            Self::Unspecified => 0,
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }
}

/// What a record must be.
#[derive(Clone, Debug)]
pub struct LogSearch {
    /// Words, or beginnings of words, that are all in it.
    pub text: Option<String>,
    /// This bad or worse.
    pub level: Option<Level>,
    /// Its unit.
    pub unit: Option<String>,
    /// Its service.
    pub service: Option<String>,
    /// Its trace.
    pub trace_id: Option<[u8; 16]>,
    /// When it came.
    pub range: Range,
    /// Records at most, the newest first.
    pub limit: usize,
    /// How long to search.
    pub time: Duration,
}

impl LogSearch {
    /// Whether a record that is just being stored is one, by the same rules; the text is compared as it stands.
    #[must_use]
    pub fn takes(&self, row: &LogRow) -> bool {
        let equal = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.level
            .is_none_or(|level| row.severity >= level.severity())
            && equal(&self.unit, &row.resource.unit)
            && equal(&self.service, &row.resource.service)
            && self.trace_id.is_none_or(|id| row.trace_id == Some(id))
            && self.text.as_ref().is_none_or(|text| {
                let body = row.body.to_lowercase();
                text.to_lowercase()
                    .split_whitespace()
                    .all(|word| body.contains(word))
            })
    }
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct LogsFound {
    /// Newest first.
    pub logs: Vec<LogLine>,
    /// How far the search got.
    #[serde(flatten)]
    pub searched: Searched,
}

/// One record.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct LogLine {
    pub time_us: i64,
    pub level: Level,
    pub severity: i32,
    pub service: String,
    pub unit: String,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub body: String,
    pub attributes: Value,
}

impl From<&LogRow> for LogLine {
    fn from(row: &LogRow) -> Self {
        Self {
            time_us: row.time_ns / 1_000,
            level: Level::of(row.severity),
            severity: row.severity,
            service: row.resource.service.clone(),
            unit: row.resource.unit.clone(),
            trace_id: row.trace_id.map(|id| hex(&id)),
            span_id: row.span_id.map(|id| hex(&id)),
            body: row.body.clone(),
            attributes: json_of(&row.attributes),
        }
    }
}

/// Finds log records.
///
/// # Errors
/// SQLite's.
pub fn search_logs(connection: &Connection, search: &LogSearch) -> rusqlite::Result<LogsFound> {
    let conditions = conditions(search);
    // With words, the index of words is what is read; without, the records.
    let (table, id) = if search.text.is_some() {
        ("logs_text t JOIN logs l ON l.id = t.rowid", "t.rowid")
    } else {
        ("logs l", "l.id")
    };
    let sql = format!(
        "SELECT l.time_ns, l.severity, r.service, r.unit, l.trace_id, l.span_id, l.body, l.attributes FROM {table}
         LEFT JOIN resources r ON r.id = l.resource_id WHERE {id} >= ? AND {id} < ?{} ORDER BY {id} DESC LIMIT ?",
        conditions.sql
    );
    let mut logs: Vec<LogLine> = Vec::new();
    let mut statement = connection.prepare_cached(&sql)?;
    let searched = slices::search(connection, "logs", search.range, search.time, |from, to| {
        let left = i64::try_from(search.limit - logs.len()).unwrap_or(i64::MAX);
        let values = [Sql::from(from), Sql::from(to)]
            .into_iter()
            .chain(conditions.with(&[Sql::from(left)]));
        let rows = statement.query_map(params_from_iter(values), line)?;
        for row in rows {
            logs.push(row?);
        }
        Ok(logs.len() >= search.limit)
    })?;
    Ok(LogsFound { logs, searched })
}

fn line(row: &Row<'_>) -> rusqlite::Result<LogLine> {
    let text = |index| {
        row.get::<_, Option<String>>(index)
            .map(Option::unwrap_or_default)
    };
    let severity = row.get(1)?;
    Ok(LogLine {
        time_us: row.get::<_, i64>(0)? / 1_000,
        level: Level::of(severity),
        severity,
        service: text(2)?,
        unit: text(3)?,
        trace_id: hex_of(row.get(4)?),
        span_id: hex_of(row.get(5)?),
        body: text(6)?,
        attributes: json_of(&text(7)?),
    })
}

fn conditions(search: &LogSearch) -> Conditions {
    let mut conditions = Conditions::default();
    if let Some(text) = &search.text {
        conditions.add("logs_text MATCH ?", [Sql::from(words(text))]);
    }
    if let Some(level) = search.level {
        conditions.add("l.severity >= ?", [Sql::from(i64::from(level.severity()))]);
    }
    if let Some(unit) = &search.unit {
        conditions.add(
            "l.resource_id IN (SELECT id FROM resources WHERE unit = ?)",
            [Sql::from(unit.clone())],
        );
    }
    if let Some(service) = &search.service {
        conditions.add(
            "l.resource_id IN (SELECT id FROM resources WHERE service = ?)",
            [Sql::from(service.clone())],
        );
    }
    if let Some(trace_id) = search.trace_id {
        conditions.add("l.trace_id = ?", [Sql::from(trace_id.to_vec())]);
    }
    conditions
}

/// The words for FTS5: each in quotes, so that nothing in them is syntax, and as a beginning.
fn words(text: &str) -> String {
    let quoted: Vec<String> = text
        .split_whitespace()
        .map(|word| format!("\"{}\"*", word.replace('"', "\"\"")))
        .collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_asked_for_is_syntax() {
        assert_eq!(words(r#"a "b OR c*"#), r#""a"* """b"* "OR"* "c*"*"#);
    }

    #[test]
    fn every_level_is_the_one_of_its_lowest_number() {
        for (_, level) in Level::NAMES {
            assert_eq!(Level::of(level.severity()), level);
        }
    }
}
