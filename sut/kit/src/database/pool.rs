//! The pool of connections: a change of its settings replaces it, work in flight finishes on the old one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use deadpool_postgres::{
    Hook, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType, Timeouts,
};
use observastack_telemetry::traces;
use tokio_postgres::NoTls;
use tokio_postgres::tls::NoTlsStream;

use super::args::DatabaseArgs;
use super::error::{DatabaseError, describe};
use super::metrics::DatabaseMetrics;
use super::session::Session;
use super::settings::PoolSettings;

/// The pool that callers get their connections from now.
pub(super) type CurrentPool = ArcSwap<SizedPool>;

/// A connection that does nothing until it is polled.
pub(super) type Undriven = tokio_postgres::Connection<tokio_postgres::Socket, NoTlsStream>;

/// One pool with the settings it was made for.
#[derive(Debug)]
pub(super) struct SizedPool {
    pool: Pool,
    settings: PoolSettings,
}

impl SizedPool {
    pub(super) fn status(&self) -> deadpool_postgres::Status {
        self.pool.status()
    }
}

/// The service's database: hands out [`Session`]s; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    driver: Arc<tokio_postgres::Config>,
    current: Arc<CurrentPool>,
    metrics: DatabaseMetrics,
}

impl Database {
    /// Makes the pool without connecting: the first use connects. `role` is the role to log in as and the schema it owns.
    ///
    /// Fails when the password's file can't be read.
    pub fn new(
        args: &DatabaseArgs,
        role: &str,
        schema: &str,
        settings: &PoolSettings,
        metrics: DatabaseMetrics,
    ) -> Result<Self, DatabaseError> {
        let mut driver = args.driver_config(role)?;
        // Notices would go to the log as news, although they only say that there is nothing to do.
        driver.options(format!(
            "-c search_path={schema} -c client_min_messages=warning"
        ));
        let pool = make_pool(&driver, settings, &metrics);
        let current = Arc::new(ArcSwap::from_pointee(SizedPool {
            pool,
            settings: settings.clone(),
        }));
        metrics.watch(Arc::downgrade(&current));
        Ok(Database {
            driver: Arc::new(driver),
            current,
            metrics,
        })
    }

    /// Puts new settings into force. Callers that wait move over to the new pool; statements in flight finish on their
    /// old connection, which is closed then, so for that long there may be more connections than the new size.
    pub fn apply(&self, settings: &PoolSettings) {
        let old = self.current.load_full();
        if old.settings == *settings {
            return;
        }
        // deadpool's own resize() forgets permits only for connections that are open: shrinking a pool that is not
        // full has no effect, and growing it again then allows more than asked. So a new size means a new pool.
        let keep = old.settings.pool_size == settings.pool_size
            && old.settings.statement_timeout_ms == settings.statement_timeout_ms;
        let pool = if keep {
            old.pool.clone()
        } else {
            make_pool(&self.driver, settings, &self.metrics)
        };
        self.current.store(Arc::new(SizedPool {
            pool,
            settings: settings.clone(),
        }));
        if !keep {
            old.pool.close();
        }
        tracing::info!(
            pool_size = settings.pool_size,
            acquire_timeout_ms = settings.acquire_timeout_ms,
            statement_timeout_ms = settings.statement_timeout_ms,
            "database pool changed"
        );
    }

    /// Waits for a free connection, or makes one, for no longer than the acquire and connect timeouts.
    ///
    /// Fails with [`DatabaseError::PoolExhausted`] or [`DatabaseError::Unreachable`].
    pub async fn acquire(&self) -> Result<Session, DatabaseError> {
        let span = traces::internal("acquire_connection");
        let started = Instant::now();
        let result = span.around(self.acquire_from_current(started)).await;
        if let Err(error) = &result {
            span.failed(error.code(), || error.to_string());
        }
        drop(span);
        self.metrics.waited(started.elapsed());
        if let Err(DatabaseError::PoolExhausted { .. }) = &result {
            self.metrics.acquire_timed_out();
        }
        result
    }

    async fn acquire_from_current(&self, started: Instant) -> Result<Session, DatabaseError> {
        loop {
            let current = self.current.load_full();
            let settings = &current.settings;
            let patience = Duration::from_millis(settings.acquire_timeout_ms);
            let connect_timeout = Duration::from_millis(settings.connect_timeout_ms);
            let timeouts = Timeouts {
                wait: Some(patience.saturating_sub(started.elapsed())),
                create: Some(connect_timeout),
                recycle: Some(connect_timeout),
            };
            let error = match current.pool.timeout_get(&timeouts).await {
                Ok(connection) => {
                    return Ok(Session::new(
                        connection,
                        settings.statement_timeout_ms,
                        self.metrics.clone(),
                    ));
                }
                Err(error) => error,
            };
            return Err(match error {
                // Replaced while we waited: go on waiting at its successor.
                PoolError::Closed => continue,
                PoolError::Timeout(TimeoutType::Wait) => DatabaseError::PoolExhausted {
                    size: current.pool.status().max_size,
                    waited_ms: settings.acquire_timeout_ms,
                },
                PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                    DatabaseError::Unreachable {
                        reason: format!("no connection within {} ms", settings.connect_timeout_ms),
                    }
                }
                other => DatabaseError::Unreachable {
                    reason: describe(&other),
                },
            });
        }
    }

    /// A connection of its own, outside the pool, for start-up work and for watching the server.
    pub(super) async fn connect_outside_pool(
        &self,
    ) -> Result<tokio_postgres::Client, DatabaseError> {
        let (client, connection) = self.connect_undriven().await?;
        // Ends with the client; its error reaches whoever uses the client next.
        tokio::spawn(connection);
        Ok(client)
    }

    /// As [`Database::connect_outside_pool`], for a caller that drives the connection.
    pub(super) async fn connect_undriven(
        &self,
    ) -> Result<(tokio_postgres::Client, Undriven), DatabaseError> {
        let limit = Duration::from_millis(self.current.load().settings.connect_timeout_ms);
        let unreachable = |reason| DatabaseError::Unreachable { reason };
        let connecting = tokio::time::timeout(limit, self.driver.connect(NoTls)).await;
        connecting
            .map_err(|_| unreachable(format!("no connection within {} ms", limit.as_millis())))?
            .map_err(|error| unreachable(describe(&error)))
    }
}

fn make_pool(
    driver: &tokio_postgres::Config,
    settings: &PoolSettings,
    metrics: &DatabaseMetrics,
) -> Pool {
    let metrics = metrics.clone();
    let mut driver = driver.clone();
    let options = driver.get_options().unwrap_or_default();
    driver.options(format!(
        "{options} -c statement_timeout={}",
        settings.statement_timeout_ms
    ));
    // Fast: a statement on a dead connection fails by itself, no round trip is spent on asking first.
    let manager_config = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = Manager::from_config(driver, NoTls, manager_config);
    let count = Hook::sync_fn(move |_connection, _| {
        metrics.connection_made();
        Ok(())
    });
    let builder = Pool::builder(manager)
        .max_size(settings.pool_size as usize)
        .runtime(Runtime::Tokio1)
        .post_create(count);
    match builder.build() {
        Ok(pool) => pool,
        // The one reason for a refusal is timeouts without a runtime.
        Err(error) => unreachable!("a pool with a runtime was refused: {error}"),
    }
}
