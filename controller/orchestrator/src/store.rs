//! Runs, what happened in them, and what is to be taken back: SQLite, so that a controller that is killed knows where it was.
//!
//! - [`attempts`]: what was made of each drill; [`ended`]: runs that are over, page by page.

mod attempts;
mod ended;

use std::path::{Path, PathBuf};

use observastack_spec::drill::{
    log::{Entry, Happened},
    score::Score,
};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Serialize, de::DeserializeOwned};

pub use self::attempts::Attempt;
use crate::lab::Undo;

/// One transaction each, in this order, for ever: a change is a new entry.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, scenario TEXT NOT NULL, began_ms INTEGER NOT NULL, is_open INTEGER NOT NULL, state TEXT NOT NULL,
        score TEXT
    ) STRICT;
    CREATE UNIQUE INDEX one_open_run ON runs (is_open) WHERE is_open = 1;
    CREATE TABLE entries (
        run INTEGER NOT NULL REFERENCES runs (id), number INTEGER NOT NULL, at_ms INTEGER NOT NULL, what TEXT NOT NULL,
        PRIMARY KEY (run, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE undo (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL) STRICT;
", "
    -- Of the state and the score as they are kept, so that no history is read as a whole for them.
    ALTER TABLE runs ADD COLUMN begun_by TEXT AS (coalesce(json_extract(state, '$.by'), 'teacher')) VIRTUAL;
    ALTER TABLE runs ADD COLUMN verdict TEXT AS (json_extract(score, '$.verdict')) VIRTUAL;
    ALTER TABLE runs ADD COLUMN total REAL AS (json_extract(score, '$.total')) VIRTUAL;
    CREATE INDEX attempts ON runs (begun_by, scenario, verdict, total, began_ms) WHERE verdict IS NOT NULL;
"];

/// The store does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says so.
    #[error("{path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        source: rusqlite::Error,
    },
    /// It is from a later version of the program.
    #[error("{path}: made by a later version (schema {found}, this one knows {known})")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// This program's.
        known: i64,
    },
    /// Something in it cannot be read.
    #[error("{path}: {what}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What.
        what: &'static str,
        /// How.
        source: serde_json::Error,
    },
}

/// A run, in a list of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Past {
    /// Its number.
    pub run: i64,
    /// Which scenario.
    pub scenario: String,
    /// When it was begun, in milliseconds since 1970.
    pub began_ms: u64,
    /// Whether it goes on.
    pub is_open: bool,
    /// What it was worth; nothing for one that was aborted, or goes on.
    pub score: Option<Score>,
}

/// The store. One process has it.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens it, and makes it where there is none.
    ///
    /// # Errors
    /// It cannot be opened, or is from a later version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Database {
            path: path.to_owned(),
            source,
        };
        let mut connection = Connection::open(path).map_err(failed)?;
        // FULL: what is to be taken back must be known after a power cut as well.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
            )
            .map_err(failed)?;
        let found: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed)?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known,
            });
        }
        for (number, migration) in (1..).zip(MIGRATIONS) {
            if number > found {
                migrate(&mut connection, number, migration).map_err(failed)?;
            }
        }
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Begins a run; its number.
    ///
    /// # Errors
    /// There is one that is open, among others.
    pub fn begin(
        &mut self,
        scenario: &str,
        began_ms: u64,
        state: &impl Serialize,
    ) -> Result<i64, StoreError> {
        let state = self.text("a run's state", state)?;
        self.connection
            .execute(
                "INSERT INTO runs (scenario, began_ms, is_open, state) VALUES (?1, ?2, 1, ?3)",
                params![scenario, signed(began_ms), state],
            )
            .map_err(|source| self.failed(source))?;
        Ok(self.connection.last_insert_rowid())
    }

    /// The run that is open, and its state.
    ///
    /// # Errors
    /// The store's.
    pub fn open_run<T: DeserializeOwned>(&self) -> Result<Option<(i64, T)>, StoreError> {
        let found: Option<(i64, String)> = self
            .connection
            .query_row("SELECT id, state FROM runs WHERE is_open = 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(|source| self.failed(source))?;
        let Some((id, state)) = found else {
            return Ok(None);
        };
        let state = serde_json::from_str(&state).map_err(|source| StoreError::Json {
            path: self.path.clone(),
            what: "the open run's state",
            source,
        })?;
        Ok(Some((id, state)))
    }

    /// Keeps a run's state; one that is not open any more stays as it is.
    ///
    /// # Errors
    /// The store's.
    pub fn save(
        &self,
        run: i64,
        is_open: bool,
        state: &impl Serialize,
        score: Option<&impl Serialize>,
    ) -> Result<(), StoreError> {
        let state = self.text("a run's state", state)?;
        let score = score.map(|score| self.text("a score", score)).transpose()?;
        self.connection
            .execute(
                "UPDATE runs SET is_open = ?2, state = ?3, score = coalesce(?4, score) WHERE id = ?1 AND is_open = 1",
                params![run, is_open, state, score],
            )
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// A run's state, whether it is open or not.
    ///
    /// # Errors
    /// The store's.
    pub fn run<T: DeserializeOwned>(&self, run: i64) -> Result<Option<T>, StoreError> {
        let found: Option<String> = self
            .connection
            .query_row("SELECT state FROM runs WHERE id = ?1", [run], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|source| self.failed(source))?;
        found
            .map(|state| self.read("a run's state", &state))
            .transpose()
    }

    /// The last runs, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub fn history(&self, most: usize) -> Result<Vec<Past>, StoreError> {
        let failed = |source| self.failed(source);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, scenario, began_ms, is_open, score FROM runs ORDER BY id DESC LIMIT ?1",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map([signed(most as u64)], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, bool>(3)?,
                    row.get::<_, Option<String>>(4)?,
                ))
            })
            .map_err(failed)?;
        let mut past = Vec::new();
        for row in rows {
            let (run, scenario, began_ms, is_open, score) = row.map_err(failed)?;
            let score = score
                .map(|score| self.read("a score", &score))
                .transpose()?;
            past.push(Past {
                run,
                scenario,
                began_ms: began_ms.cast_unsigned(),
                is_open,
                score,
            });
        }
        Ok(past)
    }

    /// Adds something that happened.
    ///
    /// # Errors
    /// The store's.
    pub fn add(&self, run: i64, at_ms: u64, what: Happened) -> Result<Entry, StoreError> {
        let text = self.text("an entry", &what)?;
        let number: i64 = self
            .connection
            .query_row(
                "INSERT INTO entries (run, number, at_ms, what) \
                 SELECT ?1, 1 + coalesce(max(number), 0), ?2, ?3 FROM entries WHERE run = ?1 RETURNING number",
                params![run, signed(at_ms), text],
                |row| row.get(0),
            )
            .map_err(|source| self.failed(source))?;
        Ok(Entry {
            number: number.cast_unsigned(),
            at_ms,
            what,
        })
    }

    /// How many entries a run has.
    ///
    /// # Errors
    /// The store's.
    pub fn count(&self, run: i64) -> Result<u64, StoreError> {
        let count: i64 = self
            .connection
            .query_row(
                "SELECT coalesce(max(number), 0) FROM entries WHERE run = ?1",
                [run],
                |row| row.get(0),
            )
            .map_err(|source| self.failed(source))?;
        Ok(count.cast_unsigned())
    }

    /// What happened in a run, after so many entries.
    ///
    /// # Errors
    /// The store's.
    pub fn entries(&self, run: i64, after: u64) -> Result<Vec<Entry>, StoreError> {
        let failed = |source| self.failed(source);
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT number, at_ms, what FROM entries WHERE run = ?1 AND number > ?2 ORDER BY number",
            )
            .map_err(failed)?;
        let rows = statement
            .query_map(params![run, signed(after)], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, String>(2)?,
                ))
            })
            .map_err(failed)?;
        let mut entries = Vec::new();
        for row in rows {
            let (number, at_ms, what) = row.map_err(failed)?;
            entries.push(Entry {
                number: number.cast_unsigned(),
                at_ms: at_ms.cast_unsigned(),
                what: self.read("an entry", &what)?,
            });
        }
        Ok(entries)
    }

    /// Keeps what has to be taken back; call it before it is done.
    ///
    /// # Errors
    /// The store's; then it must not be done.
    pub fn keep_undo(&self, undo: &Undo) -> Result<(), StoreError> {
        let what = self.text("an undo", undo)?;
        self.connection
            .execute("INSERT INTO undo (what) VALUES (?1)", [what])
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// Everything that has to be taken back, the last one first.
    ///
    /// # Errors
    /// The store's.
    pub fn undo(&self) -> Result<Vec<Undo>, StoreError> {
        let failed = |source| self.failed(source);
        let mut statement = self
            .connection
            .prepare_cached("SELECT what FROM undo ORDER BY id DESC")
            .map_err(failed)?;
        let rows = statement
            .query_map([], |row| row.get::<_, String>(0))
            .map_err(failed)?;
        rows.map(|row| self.read("an undo", &row.map_err(failed)?))
            .collect()
    }

    /// It was taken back.
    ///
    /// # Errors
    /// The store's.
    pub fn forget_undo(&self) -> Result<(), StoreError> {
        self.connection
            .execute("DELETE FROM undo", [])
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database {
            path: self.path.clone(),
            source,
        }
    }

    fn text(&self, what: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|source| StoreError::Json {
            path: self.path.clone(),
            what,
            source,
        })
    }

    fn read<T: DeserializeOwned>(&self, what: &'static str, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|source| StoreError::Json {
            path: self.path.clone(),
            what,
            source,
        })
    }
}

fn migrate(connection: &mut Connection, number: i64, migration: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}

/// SQLite's integers have a sign; times and counts do not come near it.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use observastack_spec::drill::score::Verdict;

    use super::*;
    use crate::runner::Reader;

    #[test]
    fn a_run_and_what_is_to_be_taken_back_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drills.db");
        let undo = |statements: &str| Undo::Sql {
            statements: statements.to_owned(),
        };
        let run = {
            let mut store = Store::open(&path).unwrap();
            let run = store.begin("a-drill", 5, &"first").unwrap();
            assert!(store.begin("another", 6, &"second").is_err(), "two at once");
            store.save(run, true, &"later", None::<&()>).unwrap();
            assert_eq!(store.add(run, 7, Happened::Submitted).unwrap().number, 1);
            assert_eq!(store.add(run, 8, Happened::Submitted).unwrap().number, 2);
            store.keep_undo(&undo("one")).unwrap();
            store.keep_undo(&undo("two")).unwrap();
            run
        };
        let store = Store::open(&path).unwrap();
        assert_eq!(
            store.open_run::<String>().unwrap(),
            Some((run, "later".to_owned()))
        );
        assert_eq!(store.entries(run, 1).unwrap().len(), 1);
        assert_eq!(store.undo().unwrap(), [undo("two"), undo("one")]);
        store.forget_undo().unwrap();
        assert!(store.undo().unwrap().is_empty());
        store.save(run, false, &"done", Some(&1)).unwrap();
        assert_eq!(store.open_run::<String>().unwrap(), None);
    }

    #[test]
    fn a_store_of_a_later_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drills.db");
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("a later version"), "{error}");
    }

    #[test]
    fn a_store_of_the_first_version_keeps_what_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drills.db");
        let mut connection = Connection::open(&path).unwrap();
        migrate(&mut connection, 1, MIGRATIONS[0]).unwrap();
        // Of before it was kept who has begun it, too.
        for (state, score) in [
            (
                r#"{"by": "learner"}"#,
                r#"{"verdict": "pass", "total": 91.5}"#,
            ),
            ("{}", r#"{"verdict": "lab-error", "total": 0}"#),
        ] {
            connection
                .execute(
                    "INSERT INTO runs (scenario, began_ms, is_open, state, score) VALUES ('a', 5, 0, ?1, ?2)",
                    [state, score],
                )
                .unwrap();
        }
        drop(connection);
        let store = Store::open(&path).unwrap();
        let attempts = store.attempts(Reader::Learner).unwrap();
        assert_eq!(attempts.len(), 1);
        assert_eq!(
            (attempts[0].verdict, attempts[0].total),
            (Verdict::Pass, 91.5)
        );
        let attempts = store.attempts(Reader::Teacher).unwrap();
        assert_eq!(
            (attempts.len(), attempts[0].verdict),
            (1, Verdict::LabError)
        );
    }
}
