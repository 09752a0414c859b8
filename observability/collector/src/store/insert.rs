//! Rows into their tables.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};

use super::{id_at_ns, now_ns};
use crate::model::{Batch, LogRow, ProfileRow, Resource, SpanRow};

/// Resources whose id is remembered. Forgetting one costs a row.
const RESOURCES: usize = 512;
/// A resource gets a row of its own at least this often, so that the old rows can go with the items that use them.
pub(super) const RESOURCE_LIFE_NS: i64 = 3_600_000_000_000;

/// Gives every row an id, and every resource.
#[derive(Debug, Default)]
pub(super) struct Inserter {
    last_id: i64,
    resources: HashMap<Arc<Resource>, i64>,
    resources_since_ns: i64,
}

impl Inserter {
    /// Goes on after the last id in the file, also when the clock has been set back.
    pub(super) fn open(connection: &Connection) -> rusqlite::Result<Self> {
        let last_id = connection.query_row(
            "SELECT max(coalesce((SELECT max(id) FROM spans), 0), coalesce((SELECT max(id) FROM logs), 0),
                        coalesce((SELECT max(id) FROM profiles), 0), coalesce((SELECT max(id) FROM resources), 0))",
            [],
            |row| row.get(0),
        )?;
        Ok(Self {
            last_id,
            ..Self::default()
        })
    }

    /// Forgets resources: after a transaction that was rolled back their rows may be gone.
    pub(super) fn forget(&mut self) {
        self.resources.clear();
    }

    /// Writes one batch.
    pub(super) fn insert(
        &mut self,
        transaction: &Transaction<'_>,
        batch: &Batch,
    ) -> rusqlite::Result<()> {
        let now_ns = now_ns();
        if now_ns.saturating_sub(self.resources_since_ns).abs() > RESOURCE_LIFE_NS
            || self.resources.len() > RESOURCES
        {
            self.resources.clear();
            self.resources_since_ns = now_ns;
        }
        self.last_id = self.last_id.max(id_at_ns(now_ns));
        match batch {
            Batch::Spans(rows) => self.spans(transaction, rows),
            Batch::Logs(rows) => self.logs(transaction, rows),
            Batch::Profiles(rows) => self.profiles(transaction, rows),
        }
    }

    fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    fn resource(
        &mut self,
        transaction: &Transaction<'_>,
        resource: &Arc<Resource>,
    ) -> rusqlite::Result<i64> {
        if let Some(id) = self.resources.get(resource) {
            return Ok(*id);
        }
        let id = self.next_id();
        transaction
            .prepare_cached("INSERT INTO resources VALUES (?, ?, ?, ?)")?
            .execute(params![
                id,
                resource.service,
                resource.unit,
                resource.attributes
            ])?;
        self.resources.insert(Arc::clone(resource), id);
        Ok(id)
    }

    fn spans(&mut self, transaction: &Transaction<'_>, rows: &[SpanRow]) -> rusqlite::Result<()> {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for row in rows {
            let resource = self.resource(transaction, &row.resource)?;
            insert.execute(params![
                self.next_id(),
                row.trace_id,
                row.span_id,
                row.parent_span_id,
                resource,
                row.name,
                row.scope,
                row.kind,
                row.start_ns,
                row.duration_ns,
                row.status,
                row.status_message,
                row.attributes,
                row.events,
                row.links,
            ])?;
        }
        Ok(())
    }

    fn logs(&mut self, transaction: &Transaction<'_>, rows: &[LogRow]) -> rusqlite::Result<()> {
        let mut insert =
            transaction.prepare_cached("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
        let mut insert_text =
            transaction.prepare_cached("INSERT INTO logs_text (rowid, body) VALUES (?, ?)")?;
        for row in rows {
            let resource = self.resource(transaction, &row.resource)?;
            let id = self.next_id();
            insert.execute(params![
                id,
                row.time_ns,
                row.severity,
                resource,
                row.trace_id,
                row.span_id,
                row.body,
                row.attributes,
            ])?;
            insert_text.execute(params![id, row.body])?;
        }
        Ok(())
    }

    fn profiles(
        &mut self,
        transaction: &Transaction<'_>,
        rows: &[ProfileRow],
    ) -> rusqlite::Result<()> {
        let mut insert =
            transaction.prepare_cached("INSERT INTO profiles VALUES (?, ?, ?, ?, ?, ?)")?;
        for row in rows {
            insert.execute(params![
                self.next_id(),
                row.service,
                row.kind,
                row.start_ns,
                row.labels,
                row.pprof,
            ])?;
        }
        Ok(())
    }
}
