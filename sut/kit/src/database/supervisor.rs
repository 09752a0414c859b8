//! Brings the schema up to date as soon as the database is there, or waits for its owner to do so, then keeps watching
//! whether it is.
//!
//! A connection of its own does both: what it sees is the server, not the state of the pool.

use std::convert::Infallible;
use std::time::Duration;

use crate::health::Indicator;
use tokio::sync::watch;
use tokio_postgres::Client;

use super::error::{DatabaseError, describe};
use super::pool::Database;

const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for another instance's migration and our own; a silent network must not hold the start for ever.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// A schema that a service owns, and how it gets there.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Its name; the history of migrations is in it too.
    pub name: &'static str,
    /// The embedded migrations.
    pub migrations: fn() -> refinery::Runner,
}

/// What has to be there before a service is ready.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// A schema of its own.
    Own(Schema),
    /// A table of another service's schema.
    Table(&'static str),
}

/// Starts the supervisor. The receiver turns true when the schema is up to date, and stays so; `indicator` says whether
/// the database answers now. It runs until every receiver is gone.
pub fn supervise(
    database: Database,
    schema: Schema,
    indicator: Indicator,
) -> watch::Receiver<bool> {
    start(database, Wanted::Own(schema), indicator)
}

/// As [`supervise`], for a service without a schema of its own: the receiver turns true when `table`, named with its
/// schema, is there and may be read.
pub fn supervise_table(
    database: Database,
    table: &'static str,
    indicator: Indicator,
) -> watch::Receiver<bool> {
    start(database, Wanted::Table(table), indicator)
}

fn start(database: Database, wanted: Wanted, indicator: Indicator) -> watch::Receiver<bool> {
    let (migrated, receiver) = watch::channel(false);
    indicator.down("not connected yet");
    tokio::spawn(async move {
        tokio::select! {
            () = run(&database, wanted, &indicator, &migrated) => {}
            () = migrated.closed() => {}
        }
    });
    receiver
}

async fn run(
    database: &Database,
    wanted: Wanted,
    indicator: &Indicator,
    migrated: &watch::Sender<bool>,
) {
    let mut retry = FIRST_RETRY;
    let mut last_error = String::new();
    loop {
        let attempt = async {
            let mut client = database.connect_outside_pool().await?;
            if !*migrated.borrow() {
                match wanted {
                    Wanted::Own(schema) => {
                        indicator.down("migrating");
                        migrate_in_time(&mut client, schema).await?;
                    }
                    Wanted::Table(table) => wait_for_table(&client, table, indicator).await?,
                }
                migrated.send_replace(true);
            }
            retry = FIRST_RETRY;
            probe_until_lost(&client, indicator).await
        };
        let Err(error): Result<Infallible, DatabaseError> = attempt.await;
        let error = error.to_string();
        indicator.down(&error);
        // Afterwards the indicator itself tells of changes.
        if !*migrated.borrow() && error != last_error {
            let wanted = match wanted {
                Wanted::Own(schema) => schema.name,
                Wanted::Table(table) => table,
            };
            tracing::warn!(wanted, error, "the database cannot be used yet, trying on");
        }
        last_error = error;
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LONGEST_RETRY);
    }
}

async fn probe_until_lost(
    client: &Client,
    indicator: &Indicator,
) -> Result<Infallible, DatabaseError> {
    let unreachable = |reason| DatabaseError::Unreachable { reason };
    loop {
        tokio::time::timeout(PROBE_TIMEOUT, client.simple_query(""))
            .await
            .map_err(|_| unreachable(format!("no answer within {} ms", PROBE_TIMEOUT.as_millis())))?
            .map_err(|error| unreachable(describe(&error)))?;
        indicator.up();
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

/// Looks until the table's owner has made it, and let us read it.
async fn wait_for_table(
    client: &Client,
    table: &'static str,
    indicator: &Indicator,
) -> Result<(), DatabaseError> {
    let look = "SELECT coalesce(has_table_privilege(to_regclass($1::text), 'SELECT'), false)";
    loop {
        let row = tokio::time::timeout(PROBE_TIMEOUT, client.query_one(look, &[&table]))
            .await
            .map_err(|_| DatabaseError::Unreachable {
                reason: format!("no answer within {} ms", PROBE_TIMEOUT.as_millis()),
            })?
            .map_err(|error| DatabaseError::Statement {
                statement: "look_for_table",
                reason: describe(&error),
            })?;
        if row.get(0) {
            return Ok(());
        }
        indicator.down(format!("there is no table {table} yet"));
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

async fn migrate_in_time(client: &mut Client, schema: Schema) -> Result<(), DatabaseError> {
    tokio::time::timeout(MIGRATION_TIMEOUT, migrate(client, schema))
        .await
        .unwrap_or_else(|_| {
            Err(DatabaseError::Migration {
                schema: schema.name,
                reason: format!("not done within {} s", MIGRATION_TIMEOUT.as_secs()),
            })
        })
}

/// Several instances start at once and only one may migrate: the others wait at the lock and find nothing left to do.
/// The lock belongs to the connection, so it goes with an instance that dies.
async fn migrate(client: &mut Client, schema: Schema) -> Result<(), DatabaseError> {
    let failed = |reason| DatabaseError::Migration {
        schema: schema.name,
        reason,
    };
    let lock = "SELECT pg_advisory_lock(hashtext('observastack migrations of ' || $1::text))";
    let unlock = "SELECT pg_advisory_unlock(hashtext('observastack migrations of ' || $1::text))";
    client
        .execute(lock, &[&schema.name])
        .await
        .map_err(|error| failed(describe(&error)))?;

    // CREATE SCHEMA IF NOT EXISTS asks for the right to create even where there is nothing to create.
    let exists = client
        .query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&schema.name])
        .await
        .map_err(|error| failed(describe(&error)))?;
    if !exists.get::<_, bool>(0) {
        let create = format!("CREATE SCHEMA {}", schema.name);
        client
            .batch_execute(&create)
            .await
            .map_err(|error| failed(describe(&error)))?;
    }

    let mut runner = (schema.migrations)();
    runner.set_migration_table_name("schema_history");
    let report = runner
        .run_async(client)
        .await
        .map_err(|error| failed(describe(&error)))?;
    for migration in report.applied_migrations() {
        tracing::info!(schema = schema.name, migration = %migration, "migrated");
    }
    client
        .execute(unlock, &[&schema.name])
        .await
        .map_err(|error| failed(describe(&error)))?;
    Ok(())
}
