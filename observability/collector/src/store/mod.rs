//! The embedded store: SQLite in WAL mode, one writer, readers of their own.
//!
//! ```text
//! intake ──> writer ──> insert, calls, then retention ──> store.db
//!                └──> tail (live log lines, after their commit)
//! query ──> reader ──> read/* ──> store.db
//! ```
//!
//! **A row's id is when it came**: microseconds since the epoch, times 16, and always above the one before. So "oldest
//! out first" and "from when to when" are ranges of the table's own key, and no index on time has to be kept.

mod calls;
mod insert;
pub mod read;
mod reserve;
mod retention;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use writer::{Tail, Writer, WriterOptions};

/// The store's bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes in use at most.
    pub bytes: u64,
    /// Items are deleted when they are older.
    pub age: Duration,
    /// What is left free on the disk for others.
    pub disk_reserve_bytes: u64,
}

/// Something about the store's files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory cannot be made.
    #[error("cannot make the store's directory {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite says no.
    #[error("the store {path}: {source}")]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was written by a later version.
    #[error(
        "the store {path} has schema {found}, and this version knows up to {known}: install the newer version again, or move the file away"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The last one that is known.
        known: i64,
    },
}

/// The store's file in its directory.
#[must_use]
pub fn file(directory: &Path) -> PathBuf {
    directory.join("store.db")
}

/// Opens the store for its one writer; makes it, or brings its schema up to date, where needed.
///
/// # Errors
/// See [`StoreError`].
pub fn open(directory: &Path) -> Result<Connection, StoreError> {
    std::fs::create_dir_all(directory).map_err(|source| StoreError::Directory {
        path: directory.to_owned(),
        source,
    })?;
    let path = file(directory);
    let sqlite = |source| StoreError::Sqlite {
        path: path.clone(),
        source,
    };
    let mut connection = Connection::open(&path).map_err(sqlite)?;
    // NORMAL: a commit is a write to the WAL without fsync. It outlives the process, not a power cut.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -12288;
             PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 4194304; PRAGMA wal_autocheckpoint = 1000;",
        )
        .map_err(sqlite)?;
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(sqlite)?;
    match schema::migrate(&mut connection).map_err(sqlite)? {
        schema::Migrated::Current => Ok(connection),
        schema::Migrated::Newer { found, known } => Err(StoreError::Newer { path, found, known }),
    }
}

/// Opens the store for reading.
///
/// # Errors
/// [`StoreError::Sqlite`].
pub fn open_reader(directory: &Path) -> Result<Connection, StoreError> {
    let path = file(directory);
    let open = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.execute_batch(
            "PRAGMA cache_size = -4096; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;",
        )?;
        connection.busy_timeout(Duration::from_secs(1))?;
        Ok(connection)
    };
    open().map_err(|source| StoreError::Sqlite {
        path: path.clone(),
        source,
    })
}

/// Ids in a microsecond.
const IDS_PER_US: i64 = 16;

/// The first id of what comes at a time.
pub(crate) fn id_at_ns(time_ns: i64) -> i64 {
    (time_ns / 1_000).saturating_mul(IDS_PER_US)
}

/// When a row with this id came.
pub(crate) fn ns_of_id(id: i64) -> i64 {
    (id / IDS_PER_US).saturating_mul(1_000)
}

/// Now, nanoseconds since the epoch.
pub(crate) fn now_ns() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}
