//! The API server's routes.

mod orders;
mod products;
mod report;

use std::sync::Arc;

use observastack_kit::config::ConfigStore;
use observastack_kit::database::Database;
use observastack_kit::http::{HttpError, Router};

use crate::checkout::Checkout;
use crate::inventory::InventoryClient;
use crate::metrics::ApiMetrics;
use crate::settings::ApiConfig;

pub use report::ReportSlots;

/// What the handlers work with.
#[derive(Debug)]
pub struct Shop {
    /// The live configuration.
    pub config: ConfigStore<ApiConfig>,
    /// The database.
    pub database: Database,
    /// The inventory service.
    pub inventory: Arc<InventoryClient>,
    /// Placing orders.
    pub checkout: Checkout,
    /// How many reports are computed at a time.
    pub report_slots: ReportSlots,
    /// The counters.
    pub metrics: ApiMetrics,
}

/// The routes with their handlers.
#[must_use]
pub fn routes(shop: Arc<Shop>) -> Router<Shop> {
    Router::new(shop)
        .get("/products", async |shop: Arc<Shop>, request| {
            products::list(&shop, &request)
                .await
                .map_err(HttpError::from)
        })
        .get("/products/{sku}", async |shop: Arc<Shop>, request| {
            products::show(&shop, &request)
                .await
                .map_err(HttpError::from)
        })
        .post("/orders", async |shop: Arc<Shop>, request| {
            orders::place(&shop, request).await.map_err(HttpError::from)
        })
        .get("/orders", async |shop: Arc<Shop>, request| {
            orders::list(&shop, &request).await.map_err(HttpError::from)
        })
        .get("/orders/{id}", async |shop: Arc<Shop>, request| {
            orders::show(&shop, &request).await.map_err(HttpError::from)
        })
        .get("/report/sales", async |shop: Arc<Shop>, request| {
            report::sales(&shop, &request)
                .await
                .map_err(HttpError::from)
        })
}
