//! A connection on loan from the pool, and transactions on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{GenericClient, Object};
use observastack_telemetry::traces;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::error::DatabaseError;
use super::metrics::DatabaseMetrics;

/// How much longer than the server we wait: its own timeout answers first when the network works.
const NETWORK_GRACE: Duration = Duration::from_millis(500);

/// A statement and the name it has in metrics and errors.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// Short and unique, such as `reserve_stock`.
    pub name: &'static str,
    /// The text, with `$1`-style parameters.
    pub sql: &'static str,
}

/// A statement's parameters, `$1` first.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

const BEGIN: Statement = Statement {
    name: "begin",
    sql: "BEGIN",
};
const COMMIT: Statement = Statement {
    name: "commit",
    sql: "COMMIT",
};

/// A connection on loan; goes back to the pool when dropped, unless a statement on it was not waited for.
#[derive(Debug)]
pub struct Session {
    connection: Option<Object>,
    clock: StatementClock,
}

impl Session {
    pub(super) fn new(connection: Object, timeout_ms: u64, metrics: DatabaseMetrics) -> Self {
        Session {
            connection: Some(connection),
            clock: StatementClock {
                timeout_ms,
                metrics,
                unfinished: AtomicBool::new(false),
            },
        }
    }

    /// Runs a statement and gives all its rows.
    pub async fn query(
        &self,
        statement: Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, DatabaseError> {
        query(self.connection(), &self.clock, statement, parameters).await
    }

    /// Runs a statement and gives its first row, if there is one.
    pub async fn query_opt(
        &self,
        statement: Statement,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(statement, parameters).await?.into_iter().next())
    }

    /// Begins a transaction at READ COMMITTED; dropping it rolls back.
    pub async fn begin(&mut self) -> Result<Transaction<'_>, DatabaseError> {
        let Some(connection) = self.connection.as_mut() else {
            unreachable!("a session has its connection until dropped")
        };
        let inner = self.clock.time(BEGIN, connection.transaction()).await?;
        Ok(Transaction {
            inner,
            clock: &self.clock,
        })
    }

    fn connection(&self) -> &Object {
        let Some(connection) = self.connection.as_ref() else {
            unreachable!("a session has its connection until dropped")
        };
        connection
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A connection with a statement still under way (timed out here, or its caller went away) would make the next
        // caller wait for a stranger's answer: close it instead.
        if self.clock.unfinished.load(Ordering::Relaxed)
            && let Some(connection) = self.connection.take()
        {
            drop(Object::take(connection));
        }
    }
}

/// A transaction; everything in it is undone unless [`commit`](Transaction::commit) succeeds.
#[derive(Debug)]
pub struct Transaction<'a> {
    inner: deadpool_postgres::Transaction<'a>,
    clock: &'a StatementClock,
}

impl Transaction<'_> {
    /// Runs a statement and gives all its rows.
    pub async fn query(
        &self,
        statement: Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, DatabaseError> {
        query(&self.inner, self.clock, statement, parameters).await
    }

    /// Runs a statement and gives its first row, if there is one.
    pub async fn query_opt(
        &self,
        statement: Statement,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, DatabaseError> {
        Ok(self.query(statement, parameters).await?.into_iter().next())
    }

    /// Makes it all last. After a timeout or a lost connection nobody knows whether it did.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        self.clock.time(COMMIT, self.inner.commit()).await
    }
}

async fn query<C: GenericClient + Sync>(
    client: &C,
    clock: &StatementClock,
    statement: Statement,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>, DatabaseError> {
    let work = async {
        let prepared = client.prepare_cached(statement.sql).await?;
        client.query(&prepared, parameters).await
    };
    clock.time(statement, work).await
}

/// Times statements, ends them at their deadline, and remembers whether one is still under way.
#[derive(Debug)]
struct StatementClock {
    timeout_ms: u64,
    metrics: DatabaseMetrics,
    unfinished: AtomicBool,
}

impl StatementClock {
    async fn time<T>(
        &self,
        statement: Statement,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        let span = traces::statement(statement.name);
        let started = Instant::now();
        let deadline = Duration::from_millis(self.timeout_ms) + NETWORK_GRACE;
        self.unfinished.store(true, Ordering::Relaxed);
        let result = match tokio::time::timeout(deadline, span.around(work)).await {
            Ok(result) => {
                self.unfinished.store(false, Ordering::Relaxed);
                result.map_err(|error| {
                    DatabaseError::from_driver(statement.name, self.timeout_ms, &error)
                })
            }
            Err(_elapsed) => Err(DatabaseError::StatementTimeout {
                statement: statement.name,
                timeout_ms: self.timeout_ms,
            }),
        };
        let error_type = result.as_ref().err().map_or("", DatabaseError::code);
        if let Err(error) = &result {
            span.failed(error_type, || error.to_string());
        }
        self.metrics
            .statement_done(statement.name, error_type, started.elapsed());
        result
    }
}
