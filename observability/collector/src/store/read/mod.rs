//! Questions to the store. Each takes a connection for reading and a typed question, and gives what it shows as JSON.

mod logs;
mod map;
mod pool;
mod profiles;
mod slices;
mod traces;

use rusqlite::types::Value as Sql;
use serde::Serialize;

pub use logs::{Level, LogLine, LogSearch, LogsFound, search_logs};
pub use map::{Call, Node, ServiceMap, service_map, services};
pub use pool::{Pool, ReadError};
pub use profiles::{ProfileSearch, profiles};
pub use traces::{
    SpanShown, TraceSearch, TraceShown, TraceSummary, TracesFound, search_traces, trace,
};

/// From when to when something came, nanoseconds since the epoch, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The beginning.
    pub from_ns: i64,
    /// The end.
    pub to_ns: i64,
}

impl Range {
    fn ids(self) -> (i64, i64) {
        (super::id_at_ns(self.from_ns), super::id_at_ns(self.to_ns))
    }
}

/// How far a search got within its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Searched {
    /// Whether everything that was asked for was looked at, or `limit` was reached.
    pub complete: bool,
    /// What came since then was looked at; ask again with this as `to` for what came before.
    pub searched_from_us: i64,
}

/// Conditions of a WHERE clause, and their values.
#[derive(Debug, Default)]
struct Conditions {
    sql: String,
    values: Vec<Sql>,
}

impl Conditions {
    fn add<const N: usize>(&mut self, condition: &str, values: [Sql; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn with(&self, more: &[Sql]) -> Vec<Sql> {
        self.values.iter().chain(more).cloned().collect()
    }
}

fn hex_of(id: Option<Vec<u8>>) -> Option<String> {
    id.map(|id| crate::convert::hex(&id))
}

/// JSON that the collector has written itself; what is not (an empty text) is null.
fn json_of(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or(serde_json::Value::Null)
}
