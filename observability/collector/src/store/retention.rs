//! Oldest out first, in slices: by age, by the store's size, and by what is left on the disk.

use std::path::Path;

use rusqlite::{Connection, params};

use super::insert::RESOURCE_LIFE_NS;
use super::{Bounds, id_at_ns, now_ns, ns_of_id, reserve};
use crate::model::Signal;

/// Rows of a table in one transaction: a few milliseconds, and little more than what has to go.
const SLICE_ROWS: i64 = 250;
/// Tables are emptied together, this close in time.
const SLICE_NS: i64 = 1_000_000_000;

const TABLES: [(Signal, &str); 3] = [
    (Signal::Traces, "spans"),
    (Signal::Logs, "logs"),
    (Signal::Profiles, "profiles"),
];

/// How full the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    /// Bytes of pages that hold something.
    pub(super) used_bytes: u64,
    /// Bytes of pages that are free within the file.
    pub(super) free_bytes: u64,
}

pub(super) fn fill(connection: &Connection) -> rusqlite::Result<Fill> {
    let pragma = |name: &str| {
        let number: i64 = connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
        Ok::<_, rusqlite::Error>(u64::try_from(number).unwrap_or(0))
    };
    let page_bytes = pragma("page_size")?;
    let free = pragma("freelist_count")?;
    Ok(Fill {
        used_bytes: pragma("page_count")?.saturating_sub(free) * page_bytes,
        free_bytes: free * page_bytes,
    })
}

/// Why something has to go now, before so many bytes come.
pub(super) fn reason(
    connection: &Connection,
    directory: &Path,
    bounds: &Bounds,
    coming_bytes: u64,
) -> rusqlite::Result<Option<&'static str>> {
    let fill = fill(connection)?;
    // A store that is smaller than one transaction keeps half of it at least.
    let coming_bytes = coming_bytes.min(bounds.bytes / 2);
    if fill.used_bytes.saturating_add(coming_bytes) > bounds.bytes {
        return Ok(Some("size"));
    }
    // Free pages of the file need no disk: they are as good as free disk.
    let room = reserve::free_bytes(directory).map(|free| free.saturating_add(fill.free_bytes));
    if fill.used_bytes > 0 && room.is_some_and(|room| room < bounds.disk_reserve_bytes) {
        return Ok(Some("disk"));
    }
    let oldest = oldest(connection)?.into_iter().flatten().min();
    let age_ns = i64::try_from(bounds.age.as_nanos()).unwrap_or(i64::MAX);
    Ok(oldest
        .is_some_and(|id| id < id_at_ns(now_ns().saturating_sub(age_ns)))
        .then_some("age"))
}

fn oldest(connection: &Connection) -> rusqlite::Result<[Option<i64>; 3]> {
    let mut ids = [None; 3];
    for (id, (_, table)) in ids.iter_mut().zip(TABLES) {
        *id = connection
            .prepare_cached(&format!("SELECT min(id) FROM {table}"))?
            .query_row([], |row| row.get(0))?;
    }
    Ok(ids)
}

/// Deletes one slice of the oldest rows, and says how many of each signal.
pub(super) fn delete_slice(connection: &mut Connection) -> rusqlite::Result<Vec<(Signal, usize)>> {
    let transaction = connection.transaction()?;
    let Some(first) = oldest(&transaction)?.into_iter().flatten().min() else {
        transaction.commit()?;
        return Ok(Vec::new());
    };
    // The oldest second, or less: rows of about one age go together, whatever their table.
    let end = id_at_ns(ns_of_id(first).saturating_add(SLICE_NS)).max(first + 1);
    let mut deleted = Vec::new();
    for (signal, table) in TABLES {
        // The rows to go are those up to this one.
        let last: Option<i64> = transaction
            .prepare_cached(&format!(
                "SELECT max(id) FROM (SELECT id FROM {table} WHERE id < ? ORDER BY id LIMIT ?)"
            ))?
            .query_row(params![end, SLICE_ROWS], |row| row.get(0))?;
        let Some(last) = last else { continue };
        if signal == Signal::Logs {
            transaction
                .prepare_cached(
                    "DELETE FROM logs_text WHERE rowid IN (SELECT id FROM logs WHERE id <= ?)",
                )?
                .execute([last])?;
        }
        let count = transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE id <= ?"))?
            .execute([last])?;
        deleted.push((signal, count));
    }
    let left = oldest(&transaction)?.into_iter().flatten().min();
    let kept_from = left.unwrap_or(end);
    transaction
        .prepare_cached("DELETE FROM calls WHERE minute < ?")?
        .execute([ns_of_id(kept_from) / 60_000_000_000 - 1])?;
    // What came within a resource's life may use it.
    transaction
        .prepare_cached("DELETE FROM resources WHERE id < ?")?
        .execute([id_at_ns(
            ns_of_id(kept_from).saturating_sub(2 * RESOURCE_LIFE_NS),
        )])?;
    transaction.commit()?;
    Ok(deleted)
}
