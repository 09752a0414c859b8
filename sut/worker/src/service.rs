//! Puts the service together: from configuration and database to deliveries, recommendations, health and metrics.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use observastack_kit::config::ConfigStore;
use observastack_kit::database::{
    Database, DatabaseArgs, DatabaseError, DatabaseMetrics, supervise_table,
};
use observastack_kit::health::Health;
use observastack_kit::http::Router;
use observastack_kit::lifecycle::stopped;
use observastack_kit::ops::{self, Ops};
use observastack_kit::service::render_error;
use observastack_telemetry::metrics::{HttpMetrics, Registry};
use tokio::sync::watch;

use crate::backlog;
use crate::deliveries::Deliveries;
use crate::metrics::WorkerMetrics;
use crate::recommendations::Recommendations;
use crate::settings::WorkerConfig;
use crate::spool::Spool;

/// The schema that the API owns.
const SHOP: &str = "shop";

/// The newest table that this service needs: the same migration makes all of them.
const TABLE: &str = "shop.confirmations";

/// The service's parts, put together; nothing runs yet.
pub struct Assembled {
    /// All routes of the service's port: there is nothing on it but how the service is.
    pub router: Router<Ops>,
    /// Its health and metrics, for the admin socket too.
    pub ops: Ops,
    /// For the server.
    pub http_metrics: HttpMetrics,
    /// Turns true when the tables are there.
    pub migrated: watch::Receiver<bool>,
    /// What it does.
    pub jobs: Jobs,
}

/// What the service does, apart from telling how it is.
#[derive(Debug)]
pub struct Jobs {
    deliveries: Deliveries,
    recommendations: Recommendations,
}

impl Jobs {
    /// Works until the stop, once `migrated` is true, and finishes the deliveries that are under way.
    ///
    /// # Errors
    /// None: what goes wrong is tried again.
    pub async fn run(
        self,
        mut migrated: watch::Receiver<bool>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), Infallible> {
        tokio::select! {
            () = stopped(&mut shutdown) => return Ok(()),
            // An error means that the supervisor is gone; the statements will tell what is wrong.
            _ = migrated.wait_for(|migrated| *migrated) => {}
        }
        let backlog = backlog::watch(
            self.deliveries.database.clone(),
            self.deliveries.metrics.clone(),
            shutdown.clone(),
        );
        tokio::join!(
            backlog,
            self.deliveries.run(shutdown.clone()),
            self.recommendations.run(shutdown),
        );
        Ok(())
    }
}

/// Puts the service together and starts to connect to the database. Needs a tokio runtime.
///
/// # Errors
/// The database password's file can't be read.
pub fn assemble(
    args: &DatabaseArgs,
    spool: PathBuf,
    config: ConfigStore<WorkerConfig>,
    mut registry: Registry,
) -> Result<Assembled, DatabaseError> {
    let http_metrics = HttpMetrics::register(&mut registry);
    config.register_metrics(&mut registry);
    let database_metrics = DatabaseMetrics::register(&mut registry);
    let metrics = WorkerMetrics::register(&mut registry);
    let settings = &config.current().config.database;
    let database = Database::new(args, "worker", SHOP, settings, database_metrics)?;

    let health = Health::new();
    let migrated = supervise_table(database.clone(), TABLE, health.readiness("database"));
    config.follow({
        let database = database.clone();
        move |now| {
            database.apply(&now.database);
            now.traces.apply();
        }
    });

    let ops = Ops {
        health,
        registry: Arc::new(registry),
    };
    let deliveries = Deliveries {
        config: config.clone(),
        database: database.clone(),
        spool: Arc::new(Spool::new(spool)),
        metrics: metrics.clone(),
    };
    let recommendations = Recommendations {
        config,
        database,
        metrics,
    };
    Ok(Assembled {
        router: ops::routes(ops.clone()).render_errors(render_error),
        ops,
        http_metrics,
        migrated,
        jobs: Jobs {
            deliveries,
            recommendations,
        },
    })
}
