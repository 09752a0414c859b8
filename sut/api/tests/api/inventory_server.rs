//! Inventories within the test's process: the real one, which can be stopped and started, and one that listens.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, StatusCode};
use observastack_inventory::service::assemble;
use observastack_kit::config::ConfigStore;
use observastack_kit::database::DatabaseArgs;
use observastack_kit::http::{Request, Router, Server, bind, json};
use observastack_telemetry::metrics::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Cluster, HttpClient, eventually};

/// A running inventory service.
pub(crate) struct InventoryServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
    _migrated: watch::Receiver<bool>,
    _state: tempfile::TempDir,
}

impl InventoryServer {
    /// Starts one on `port` (0: any free one) and waits until it is ready.
    pub(crate) async fn start(cluster: &Cluster, port: u16) -> InventoryServer {
        let state = tempfile::tempdir().unwrap();
        let args = DatabaseArgs {
            database_host: "127.0.0.1".into(),
            database_port: cluster.port(),
            database_name: "shop".into(),
            database_user: None,
            database_password_file: None,
        };
        let service = assemble(
            &args,
            ConfigStore::open(state.path(), None).unwrap(),
            Registry::default(),
        )
        .unwrap();
        let listener = bind(([127, 0, 0, 1], port).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(async move {
            Server::new(listener)
                .serve(service.router, stopped)
                .await
                .unwrap();
        });
        let client = HttpClient::new(format!("http://{address}"));
        eventually("the inventory is ready", async || {
            (client.get("/healthz").await.status == 200).then_some(())
        })
        .await;
        InventoryServer {
            address,
            stop,
            server: Some(server),
            _migrated: service.migrated,
            _state: state,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops it: its port is closed afterwards.
    pub(crate) async fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(server) = self.server.take() {
            server.await.unwrap();
        }
    }
}

/// An inventory that reserves whatever it is asked for and remembers the last request's headers.
pub(crate) struct ListeningInventory {
    address: SocketAddr,
    headers: Arc<Mutex<HeaderMap>>,
    _stop: watch::Sender<bool>,
}

impl ListeningInventory {
    pub(crate) fn start() -> ListeningInventory {
        let headers = Arc::new(Mutex::new(HeaderMap::new()));
        let router = Router::new(Arc::clone(&headers)).post(
            "/reservations",
            async |headers: Arc<Mutex<HeaderMap>>, request: Request| {
                *headers.lock().unwrap() = request.headers().clone();
                json(StatusCode::CREATED, &serde_json::json!({}))
            },
        );
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Server::new(listener).serve(router, stopped));
        ListeningInventory {
            address,
            headers,
            _stop: stop,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn last_headers(&self) -> HeaderMap {
        self.headers.lock().unwrap().clone()
    }
}
