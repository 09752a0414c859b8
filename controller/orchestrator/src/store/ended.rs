//! Runs that have ended, page by page.

use rusqlite::params;
use serde::de::DeserializeOwned;

use super::{Store, StoreError, signed};

impl Store {
    /// States of runs that are over, the oldest first: those after a number, begun at a moment or later, and not more than so many.
    ///
    /// # Errors
    /// The store's.
    pub fn ended<T: DeserializeOwned>(
        &self,
        after: i64,
        since_ms: u64,
        most: usize,
    ) -> Result<Vec<(i64, T)>, StoreError> {
        let failed = |source| self.failed(source);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, state FROM runs WHERE id > ?1 AND began_ms >= ?2 AND is_open = 0 ORDER BY id LIMIT ?3",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(
                params![after, signed(since_ms), signed(most as u64)],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
            )
            .map_err(failed)?;
        let mut ended = Vec::new();
        for row in rows {
            let (run, state) = row.map_err(failed)?;
            ended.push((run, self.read("a run's state", &state)?));
        }
        Ok(ended)
    }
}
