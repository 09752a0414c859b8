//! The service: what a real one's `main` looks like, with handlers that do as the tests bid.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use observastack_kit::config::{ConfigStore, FieldError, ServiceConfig};
use observastack_kit::health::{Health, Indicator};
use observastack_kit::http::{self, Request, Router, Server, json};
use observastack_kit::lifecycle::Lifecycle;
use observastack_kit::{admin, ops::Ops};
use observastack_telemetry::{logs, metrics};
use serde::{Deserialize, Serialize};

/// Its configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) counter: u64,
    pub(crate) padding: String,
}

impl ServiceConfig for Config {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        FieldError::collect([FieldError::range("counter", self.counter, 0..=1_000_000)])
    }
}

struct Service {
    directory: PathBuf,
    liveness: Indicator,
}

pub(crate) fn main(directory: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    match runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(directory)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    logs::init("observastack-test")?;
    let store = ConfigStore::<Config>::open(&directory.join("state"), None)?;
    let listen: SocketAddr = std::env::var(super::LISTEN)?.parse()?;
    let listener = http::bind(listen)?;
    let socket = admin::bind(&directory.join("admin.sock"))?;
    std::fs::write(
        directory.join("address.tmp"),
        listener.local_addr()?.to_string(),
    )?;
    std::fs::rename(directory.join("address.tmp"), directory.join("address"))?;

    let health = Health::new();
    let service = Service {
        directory: directory.to_owned(),
        liveness: health.liveness("handler"),
    };
    let registry = Arc::new(metrics::registry("observastack-test", "0"));
    let mut lifecycle = Lifecycle::new(health.clone())?;
    let ops = Ops { health, registry };
    let admin = admin::serve(
        socket,
        "observastack-test",
        store.clone(),
        ops,
        lifecycle.shutdown(),
    );
    lifecycle.spawn("admin", admin);
    let router = Router::new(Arc::new(service))
        .get("/slow", slow)
        .get("/broken", async |_, _| {
            Err(http::HttpError::internal("the cause"))
        })
        .post("/die", async |service: Arc<Service>, _: Request| {
            service.liveness.down("told to");
            json(StatusCode::OK, "dying")
        });
    let server = Server::new(listener).serve(router, lifecycle.shutdown());
    lifecycle.spawn("http", server);
    if directory.join("fail").exists() {
        lifecycle.spawn("doomed", async { Err::<(), _>("out of luck") });
    }
    lifecycle.run(&store, Duration::from_secs(60)).await?;
    Ok(())
}

/// Says that it was reached, and answers when it may.
async fn slow(service: Arc<Service>, _: Request) -> Result<http::Response, http::HttpError> {
    std::fs::write(service.directory.join("arrived"), "").map_err(http::HttpError::internal)?;
    while !service.directory.join("go").exists() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    json(StatusCode::OK, "done")
}
