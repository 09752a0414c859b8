//! The tables. `user_version` says how many of the migrations a file has.

use rusqlite::Connection;

/// One transaction each, in this order, for ever: a change is a new entry.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE resources (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, unit TEXT NOT NULL, attributes TEXT NOT NULL
    ) STRICT;
    CREATE INDEX resources_by_service ON resources (service);

    CREATE TABLE spans (
        id INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent_span_id BLOB,
        resource_id INTEGER NOT NULL, name TEXT NOT NULL, scope TEXT NOT NULL, kind INTEGER NOT NULL,
        start_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL, status INTEGER NOT NULL,
        status_message TEXT NOT NULL, attributes TEXT NOT NULL, events TEXT NOT NULL, links TEXT NOT NULL
    ) STRICT;
    CREATE INDEX spans_by_trace ON spans (trace_id);
    CREATE INDEX spans_by_resource ON spans (resource_id);
    CREATE INDEX spans_with_error ON spans (id) WHERE status = 2;

    CREATE TABLE logs (
        id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, severity INTEGER NOT NULL, resource_id INTEGER NOT NULL,
        trace_id BLOB, span_id BLOB, body TEXT NOT NULL, attributes TEXT NOT NULL
    ) STRICT;
    CREATE INDEX logs_by_trace ON logs (trace_id) WHERE trace_id IS NOT NULL;
    CREATE INDEX logs_by_resource ON logs (resource_id);
    CREATE VIRTUAL TABLE logs_text USING fts5 (body, content = '', contentless_delete = 1);

    CREATE TABLE profiles (
        id INTEGER PRIMARY KEY, service TEXT NOT NULL, kind TEXT NOT NULL, start_ns INTEGER NOT NULL,
        labels TEXT NOT NULL, pprof BLOB NOT NULL
    ) STRICT;
    CREATE INDEX profiles_by_service ON profiles (service);

    CREATE TABLE calls (
        minute INTEGER NOT NULL, client TEXT NOT NULL, server TEXT NOT NULL,
        calls INTEGER NOT NULL, errors INTEGER NOT NULL, duration_ns INTEGER NOT NULL,
        PRIMARY KEY (minute, client, server)
    ) STRICT, WITHOUT ROWID;
"];

/// What was found.
pub(super) enum Migrated {
    /// The schema is this version's now.
    Current,
    /// The file is from a later version.
    Newer { found: i64, known: i64 },
}

pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<Migrated> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Ok(Migrated::Newer { found, known });
    }
    for (number, migration) in (1..).zip(MIGRATIONS) {
        if number > found {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()?;
        }
    }
    Ok(Migrated::Current)
}
