//! Puts the service together: from configuration, database and inventory to routes, health and metrics.

use std::sync::Arc;

use http::Uri;
use observastack_kit::config::ConfigStore;
use observastack_kit::database::{
    Database, DatabaseArgs, DatabaseError, DatabaseMetrics, Schema, supervise,
};
use observastack_kit::health::Health;
use observastack_kit::http::Router;
use observastack_kit::ops::{self, Ops};
use observastack_kit::service::render_error;
use observastack_telemetry::metrics::{HttpMetrics, Registry};
use tokio::sync::watch;

use crate::announcer::Announcer;
use crate::background::Background;
use crate::checkout::Checkout;
use crate::inventory::InventoryClient;
use crate::metrics::ApiMetrics;
use crate::routes::{ReportSlots, Shop, routes};
use crate::settings::ApiConfig;

mod embedded {
    refinery::embed_migrations!("migrations");
}

const SHOP: Schema = Schema {
    name: "shop",
    migrations: embedded::migrations::runner,
};

/// The service's parts, put together; nothing listens yet.
pub struct Assembled {
    /// All routes of the service's port.
    pub router: Router<Shop>,
    /// Its health and metrics, for the admin socket too.
    pub ops: Ops,
    /// For the server.
    pub http_metrics: HttpMetrics,
    /// Turns true when the schema is up to date.
    pub migrated: watch::Receiver<bool>,
    /// What the stop has to wait for.
    pub background: Background,
}

/// Puts the service together and starts to connect to the database. Needs a tokio runtime.
///
/// # Errors
/// The database password's file can't be read.
pub fn assemble(
    database: &DatabaseArgs,
    inventory: Uri,
    config: ConfigStore<ApiConfig>,
    mut registry: Registry,
) -> Result<Assembled, DatabaseError> {
    let http_metrics = HttpMetrics::register(&mut registry);
    config.register_metrics(&mut registry);
    let database_metrics = DatabaseMetrics::register(&mut registry);
    let api_metrics = ApiMetrics::register(&mut registry);

    let current = config.current();
    let database = Database::new(
        database,
        "api",
        SHOP.name,
        &current.config.database,
        database_metrics,
    )?;
    let health = Health::new();
    let migrated = supervise(database.clone(), SHOP, health.readiness("database"));
    config.follow({
        let database = database.clone();
        move |now| {
            database.apply(&now.database);
            now.traces.apply();
        }
    });

    let background = Background::default();
    let inventory = Arc::new(InventoryClient::new(
        inventory,
        config.clone(),
        api_metrics.clone(),
    ));
    let checkout = Checkout {
        database: database.clone(),
        inventory: Arc::clone(&inventory),
        announcer: Announcer::start(database.clone()),
        background: background.clone(),
        metrics: api_metrics.clone(),
    };
    let report_slots = ReportSlots::new(current.config.report.concurrency);
    let shop = Shop {
        config,
        database,
        inventory,
        checkout,
        report_slots,
        metrics: api_metrics,
    };
    let ops = Ops {
        health,
        registry: Arc::new(registry),
    };
    let router = routes(Arc::new(shop))
        .merge(ops::routes(ops.clone()))
        .render_errors(render_error);
    Ok(Assembled {
        router,
        ops,
        http_metrics,
        migrated,
        background,
    })
}
