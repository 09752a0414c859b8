//! A search backwards in time, slice by slice, that stops when it has enough or its time is up.
//!
//! A condition without an index reads every row. So a search gets a time, says how far it got, and can be continued;
//! slices grow while they are quick, so that few are needed where the index does the work.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Range, Searched};
use crate::store::{id_at_ns, ns_of_id};

const FIRST_NS: i64 = 100_000_000;
const QUICK: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(25);

/// Asks `look(from id, to id)` for each slice, newest first, until it says that it has enough.
pub(super) fn search(
    connection: &Connection,
    table: &str,
    range: Range,
    time: Duration,
    mut look: impl FnMut(i64, i64) -> rusqlite::Result<bool>,
) -> rusqlite::Result<Searched> {
    let began = Instant::now();
    let (from, mut to) = range.ids();
    let mut width = id_at_ns(FIRST_NS);
    let mut newest = connection.prepare_cached(&format!(
        "SELECT max(id) FROM {table} WHERE id >= ? AND id < ?"
    ))?;
    let searched = |complete, to: i64| Searched {
        complete,
        searched_from_us: ns_of_id(to) / 1_000,
    };
    loop {
        // Skips the time in which nothing came.
        let last: Option<i64> = newest
            .query_row(params![from, to], |row| row.get(0))
            .optional()?
            .flatten();
        let Some(last) = last else {
            return Ok(searched(true, from));
        };
        let end = last.saturating_add(1);
        let start = end.saturating_sub(width).max(from);
        let slice_began = Instant::now();
        let enough = look(start, end)?;
        to = start;
        if enough || start <= from {
            return Ok(searched(true, to));
        }
        if began.elapsed() >= time {
            return Ok(searched(false, to));
        }
        let took = slice_began.elapsed();
        if took < QUICK {
            width = width.saturating_mul(4);
        } else if took > SLOW {
            width = (width / 2).max(id_at_ns(1_000_000));
        }
    }
}
