//! What was made of each drill.

use observastack_spec::drill::score::Verdict;

use super::{Store, StoreError};
use crate::runner::Reader;

/// A run that was scored, as far as a history of drills needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Which scenario.
    pub scenario: String,
    /// Whether it was passed.
    pub verdict: Verdict,
    /// All points.
    pub total: f64,
    /// When it was begun, in milliseconds since 1970.
    pub began_ms: u64,
}

impl Store {
    /// Every run that was scored, of those that were begun so; the oldest first, by scenario.
    ///
    /// # Errors
    /// The store's.
    pub fn attempts(&self, by: Reader) -> Result<Vec<Attempt>, StoreError> {
        let failed = |source| self.failed(source);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT scenario, verdict, total, began_ms FROM runs WHERE begun_by = ?1 AND verdict IS NOT NULL \
                 ORDER BY scenario, began_ms",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map([by.name()], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, f64>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            })
            .map_err(failed)?;
        let mut attempts = Vec::new();
        for row in rows {
            let (scenario, verdict, total, began_ms) = row.map_err(failed)?;
            attempts.push(Attempt {
                scenario,
                verdict: self.read("a verdict", &format!("\"{verdict}\""))?,
                total,
                began_ms: began_ms.cast_unsigned(),
            });
        }
        Ok(attempts)
    }
}
