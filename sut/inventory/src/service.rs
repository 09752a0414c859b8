//! Puts the service together: from configuration and database to routes, health and metrics.

use std::sync::Arc;

use observastack_kit::config::ConfigStore;
use observastack_kit::health::Health;
use observastack_kit::http::Router;
use observastack_kit::ops::{self, Ops};
use observastack_kit::service::render_error;
use observastack_telemetry::metrics::{HttpMetrics, Registry};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::metrics::InventoryMetrics;
use crate::routes::{Inventory, routes};
use crate::settings::InventoryConfig;
use observastack_kit::database::{
    Database, DatabaseArgs, DatabaseError, DatabaseMetrics, Schema, supervise,
};

mod migrations {
    refinery::embed_migrations!("migrations");
}

const STOCK: Schema = Schema {
    name: "stock",
    migrations: migrations::migrations::runner,
};

/// The service's parts, put together; nothing listens yet.
pub struct Assembled {
    /// All routes of the service's port.
    pub router: Router<Inventory>,
    /// Its health and metrics, for the admin socket too.
    pub ops: Ops,
    /// For the server.
    pub http_metrics: HttpMetrics,
    /// Turns true when the schema is up to date.
    pub migrated: watch::Receiver<bool>,
}

/// Puts the service together and starts to connect to the database. Needs a tokio runtime.
///
/// # Errors
/// The database password's file can't be read.
pub fn assemble(
    args: &DatabaseArgs,
    config: ConfigStore<InventoryConfig>,
    mut registry: Registry,
) -> Result<Assembled, DatabaseError> {
    let http_metrics = HttpMetrics::register(&mut registry);
    config.register_metrics(&mut registry);
    let database_metrics = DatabaseMetrics::register(&mut registry);
    let settings = &config.current().config.database;
    let database = Database::new(args, "inventory", STOCK.name, settings, database_metrics)?;
    let cache = Cache::default();
    let inventory_metrics = InventoryMetrics::register(&mut registry, cache.clone());

    let health = Health::new();
    let migrated = supervise(database.clone(), STOCK, health.readiness("database"));
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
    let inventory = Inventory {
        config,
        database,
        cache,
        metrics: inventory_metrics,
    };
    let router = routes(Arc::new(inventory))
        .merge(ops::routes(ops.clone()))
        .render_errors(render_error);
    Ok(Assembled {
        router,
        ops,
        http_metrics,
        migrated,
    })
}
