//! The service map.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use serde::Serialize;

use super::Range;

const MINUTE_NS: i64 = 60_000_000_000;

/// Who calls whom, over whole minutes.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceMap {
    /// The beginning of the first minute.
    pub from_us: i64,
    /// The end of the last one.
    pub to_us: i64,
    /// Services, and databases.
    pub nodes: Vec<Node>,
    /// Calls between them.
    pub edges: Vec<Call>,
}

/// One service, by the calls that it got.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Node {
    pub service: String,
    pub calls: i64,
    pub errors: i64,
    pub calls_per_s: f64,
    pub mean_duration_ms: f64,
}

/// One service's calls to another.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Call {
    pub client: String,
    pub server: String,
    pub calls: i64,
    pub errors: i64,
    pub calls_per_s: f64,
    pub mean_duration_ms: f64,
}

/// Sums the calls up.
///
/// # Errors
/// SQLite's.
pub fn service_map(connection: &Connection, range: Range) -> rusqlite::Result<ServiceMap> {
    let from = range.from_ns.div_euclid(MINUTE_NS);
    let to = range.to_ns.div_euclid(MINUTE_NS) + 1;
    let seconds = (to - from).max(1) as f64 * 60.0;
    let mut statement = connection.prepare_cached(
        "SELECT client, server, sum(calls), sum(errors), sum(duration_ns) FROM calls
         WHERE minute >= ? AND minute < ? GROUP BY client, server",
    )?;
    let mut rows = statement.query(params![from, to])?;
    let mut nodes: BTreeMap<String, (i64, i64, f64)> = BTreeMap::new();
    let mut edges = Vec::new();
    while let Some(row) = rows.next()? {
        let (client, server): (String, String) = (row.get(0)?, row.get(1)?);
        let (calls, errors): (i64, i64) = (row.get(2)?, row.get(3)?);
        let duration_ns = row.get::<_, i64>(4)? as f64;
        let node = nodes.entry(server.clone()).or_default();
        node.0 += calls;
        node.1 += errors;
        node.2 += duration_ns;
        if client.is_empty() {
            continue;
        }
        nodes.entry(client.clone()).or_default();
        edges.push(Call {
            client,
            server,
            calls,
            errors,
            calls_per_s: calls as f64 / seconds,
            mean_duration_ms: mean_ms(duration_ns, calls),
        });
    }
    let nodes = nodes
        .into_iter()
        .map(|(service, (calls, errors, duration_ns))| Node {
            service,
            calls,
            errors,
            calls_per_s: calls as f64 / seconds,
            mean_duration_ms: mean_ms(duration_ns, calls),
        });
    Ok(ServiceMap {
        from_us: from * (MINUTE_NS / 1_000),
        to_us: to * (MINUTE_NS / 1_000),
        nodes: nodes.collect(),
        edges,
    })
}

fn mean_ms(duration_ns: f64, calls: i64) -> f64 {
    duration_ns / 1e6 / calls.max(1) as f64
}

/// Every service that has sent something.
///
/// # Errors
/// SQLite's.
pub fn services(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT service FROM resources UNION SELECT service FROM profiles ORDER BY 1",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}
