//! The API server's own process, with a real PostgreSQL and a real inventory service.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../inventory/tests/support/mod.rs"]
mod support;

mod failures;
mod inventory_server;
mod orders;
mod process;
mod reports;

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use inventory_server::{InventoryServer, ListeningInventory};
use serde_json::{Value, json};
use support::{Answer, Cluster, HttpClient, Service, eventually};

/// Everything that an order needs.
struct Lab {
    api: Service,
    inventory: InventoryServer,
    cluster: Cluster,
}

impl Lab {
    async fn start(site_config: Value) -> Lab {
        let cluster = Cluster::start();
        let inventory = InventoryServer::start(&cluster, 0).await;
        let api = start(&cluster, &inventory.address(), site_config)
            .ready()
            .await;
        Lab {
            api,
            inventory,
            cluster,
        }
    }

    fn client(&self) -> &HttpClient {
        &self.api.client
    }

    async fn order(&self, sku: &str, quantity: i32) -> Answer {
        self.client()
            .post("/orders", &order(&[(sku, quantity)]))
            .await
    }

    fn reserved(&self, sku: &str) -> i64 {
        self.cluster.number(&format!(
            "SELECT reserved FROM stock.items WHERE sku = '{sku}'"
        ))
    }

    fn new_orders(&self) -> i64 {
        self.cluster
            .number("SELECT count(*) FROM shop.orders WHERE id > 10000")
    }

    fn waiting_confirmations(&self) -> i64 {
        self.cluster
            .number("SELECT count(*) FROM shop.confirmations WHERE sent_at IS NULL")
    }

    async fn compensated(&self, outcome: &str) -> f64 {
        let series = format!("observastack_api_compensations_total{{outcome=\"{outcome}\"}}");
        self.client().metric(&series).await
    }
}

fn start(cluster: &Cluster, inventory: &str, mut site_config: Value) -> Service {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/report.html");
    if site_config.pointer("/report/template_path").is_none() {
        site_config["report"]["template_path"] = template.into();
    }
    let inventory = format!("http://{inventory}");
    Service::start(
        env!("CARGO_BIN_EXE_observastack-api"),
        cluster,
        &["--inventory", &inventory],
        &site_config,
    )
}

fn order(lines: &[(&str, i32)]) -> Value {
    let lines: Vec<Value> = lines
        .iter()
        .map(|(sku, quantity)| json!({"sku": sku, "quantity": quantity}))
        .collect();
    json!({"customer_id": 1, "lines": lines})
}

async fn with_key(client: &HttpClient, key: &str, body: &Value) -> Answer {
    client
        .send(
            Method::POST,
            "/orders",
            &[("idempotency-key", key)],
            &body.to_string(),
        )
        .await
}
