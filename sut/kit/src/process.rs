//! What every service's process does around its own work.

use std::fmt::Display;
use std::net::TcpListener;
use std::process::ExitCode;

use observastack_telemetry::logs;
use observastack_telemetry::metrics::HttpMetrics;

use crate::admin::{self, AdminSocket};
use crate::config::{ConfigStore, ServiceConfig};
use crate::http::{Router, Server};
use crate::lifecycle::Lifecycle;
use crate::ops::Ops;

/// Begins the log of `service`, runs it, and gives the process's exit code; why it failed is the log's last record.
pub fn main<E: Display>(service: &str, run: impl FnOnce() -> Result<(), E>) -> ExitCode {
    if let Err(error) = logs::init(service) {
        eprintln!("{service}: {error}");
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What answers on a service's port and on its admin socket.
pub struct Routes<S> {
    /// Of the port.
    pub router: Router<S>,
    /// For the port's requests.
    pub http_metrics: HttpMetrics,
    /// Of the admin socket, beside the configuration.
    pub ops: Ops,
}

/// Serves a service's port and its admin socket, as two tasks of its life.
pub fn serve<C: ServiceConfig, S: Send + Sync + 'static>(
    lifecycle: &mut Lifecycle,
    service: &'static str,
    config: &ConfigStore<C>,
    (listener, admin_socket): (TcpListener, AdminSocket),
    routes: Routes<S>,
) {
    let server = Server::new(listener)
        .metrics(routes.http_metrics)
        .config_version({
            let config = config.clone();
            move || config.version()
        });
    lifecycle.spawn("http", server.serve(routes.router, lifecycle.shutdown()));
    let admin = admin::serve(
        admin_socket,
        service,
        config.clone(),
        routes.ops,
        lifecycle.shutdown(),
    );
    lifecycle.spawn("admin", admin);
}
