//! What can go wrong with the database, sorted by what a caller does about it.

use std::path::PathBuf;

use tokio_postgres::error::SqlState;

/// Why a connection or a statement was not had.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The password's file can't be read.
    #[error("cannot read the database password from {}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// All connections were in use for the whole acquire timeout.
    #[error("all {size} database connections were in use for {waited_ms} ms")]
    PoolExhausted {
        /// Connections in the pool.
        size: usize,
        /// How long the caller waited.
        waited_ms: u64,
    },
    /// No connection can be made, or the one in use went away: refused, reset, shutting down, wrong password.
    #[error("database unreachable: {reason}")]
    Unreachable {
        /// What the driver said.
        reason: String,
    },
    /// The schema is not there yet: the service has just started on an empty database.
    #[error("statement {statement} came before the schema's migration")]
    NotMigrated {
        /// The statement's name.
        statement: &'static str,
    },
    /// The statement took longer than the statement timeout.
    #[error("statement {statement} took longer than {timeout_ms} ms")]
    StatementTimeout {
        /// The statement's name.
        statement: &'static str,
        /// The limit.
        timeout_ms: u64,
    },
    /// Another transaction was in the way (deadlock, serialization): the same work may succeed when repeated.
    #[error("statement {statement} lost against another transaction")]
    Conflict {
        /// The statement's name.
        statement: &'static str,
    },
    /// A constraint of the schema refused the row.
    #[error("statement {statement} violates {constraint}")]
    Constraint {
        /// The statement's name.
        statement: &'static str,
        /// The constraint's name.
        constraint: String,
    },
    /// Anything else that the server or driver objects to: a defect in the service or a damaged database.
    #[error("statement {statement} failed: {reason}")]
    Statement {
        /// The statement's name.
        statement: &'static str,
        /// What the server or driver said.
        reason: String,
    },
    /// The schema could not be brought up to date.
    #[error("migrating schema {schema} failed: {reason}")]
    Migration {
        /// The schema.
        schema: &'static str,
        /// What the migration runner said.
        reason: String,
    },
}

impl DatabaseError {
    /// The word for this kind of error in metrics (`error_type`) and in answers (`error.code`).
    pub fn code(&self) -> &'static str {
        match self {
            DatabaseError::PasswordFile { .. } => "database_password",
            DatabaseError::PoolExhausted { .. } => "database_pool_exhausted",
            DatabaseError::Unreachable { .. } => "database_unreachable",
            DatabaseError::NotMigrated { .. } => "database_not_migrated",
            DatabaseError::StatementTimeout { .. } => "database_timeout",
            DatabaseError::Conflict { .. } => "database_conflict",
            DatabaseError::Constraint { .. } => "database_constraint",
            DatabaseError::Statement { .. } => "database_error",
            DatabaseError::Migration { .. } => "database_migration",
        }
    }

    /// Sorts the driver's error about one statement.
    pub(super) fn from_driver(
        statement: &'static str,
        timeout_ms: u64,
        error: &tokio_postgres::Error,
    ) -> Self {
        let Some(server) = error.as_db_error() else {
            // Without a message from the server it is the connection, or a parameter of the wrong type.
            return if error.is_closed()
                || std::error::Error::source(error).is_some_and(|s| s.is::<std::io::Error>())
            {
                DatabaseError::Unreachable {
                    reason: describe(error),
                }
            } else {
                DatabaseError::Statement {
                    statement,
                    reason: describe(error),
                }
            };
        };
        let code = server.code();
        if *code == SqlState::QUERY_CANCELED {
            DatabaseError::StatementTimeout {
                statement,
                timeout_ms,
            }
        } else if *code == SqlState::T_R_DEADLOCK_DETECTED
            || *code == SqlState::T_R_SERIALIZATION_FAILURE
        {
            DatabaseError::Conflict { statement }
        } else if *code == SqlState::UNIQUE_VIOLATION
            || *code == SqlState::FOREIGN_KEY_VIOLATION
            || *code == SqlState::CHECK_VIOLATION
        {
            DatabaseError::Constraint {
                statement,
                constraint: server.constraint().unwrap_or("?").to_owned(),
            }
        } else if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME {
            DatabaseError::NotMigrated { statement }
        } else if is_going_away(code) {
            DatabaseError::Unreachable {
                reason: describe(error),
            }
        } else {
            DatabaseError::Statement {
                statement,
                reason: describe(error),
            }
        }
    }
}

/// Shutdown, crash recovery and too many clients are the server's state, not the statement's fault.
fn is_going_away(code: &SqlState) -> bool {
    [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::IDLE_SESSION_TIMEOUT,
    ]
    .contains(code)
}

/// The driver's error with its causes in one line: its own Display says "db error" and nothing else.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
