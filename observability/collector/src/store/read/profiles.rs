//! Profiles, as they were pushed.

use rusqlite::{Connection, params};

use super::Range;

/// Which profiles.
#[derive(Clone, Debug)]
pub struct ProfileSearch {
    /// Their service.
    pub service: String,
    /// What they measure; any where nothing is said.
    pub kind: Option<String>,
    /// When they came.
    pub range: Range,
    /// How many at most.
    pub limit: usize,
}

/// Calls `each` with every profile's pprof, the newest first, for as long as it says `true`.
///
/// # Errors
/// SQLite's.
pub fn profiles(
    connection: &Connection,
    search: &ProfileSearch,
    mut each: impl FnMut(&[u8]) -> bool,
) -> rusqlite::Result<()> {
    let (from, to) = search.range.ids();
    let mut statement = connection.prepare_cached(
        "SELECT pprof FROM profiles WHERE service = ?1 AND id >= ?2 AND id < ?3 AND (?4 IS NULL OR kind = ?4)
         ORDER BY id DESC LIMIT ?5",
    )?;
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![search.service, from, to, search.kind, limit])?;
    while let Some(row) = rows.next()? {
        if !each(row.get_ref(0)?.as_blob().unwrap_or_default()) {
            break;
        }
    }
    Ok(())
}
