//! Metrics: a prometheus-client registry, its text form, and the families every process shares.
//!
//! Names follow OpenTelemetry where it has one, else `observastack_<thing>_<unit>[_total]`.

mod http_server;
mod process;

use prometheus_client::metrics::info::Info;
pub use prometheus_client::registry::Registry;

pub use http_server::{HttpMetrics, InFlight};

/// The `Content-Type` of what [`encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry with what every process exports.
///
/// That is `observastack_build_info{service,version}` and, from /proc, `process_cpu_seconds_total`,
/// `process_resident_memory_bytes`, `process_open_fds`, `process_threads` and `process_start_time_seconds`.
#[must_use]
pub fn registry(service: &'static str, version: &'static str) -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "observastack_build",
        "The service and its version",
        Info::new(vec![("service", service), ("version", version)]),
    );
    registry.register_collector(Box::new(process::ProcessCollector));
    registry
}

/// Every metric of the registry in the OpenMetrics text format; see [`CONTENT_TYPE`].
#[must_use]
pub fn encode(registry: &Registry) -> String {
    let mut text = String::with_capacity(16 * 1024);
    if let Err(error) = prometheus_client::encoding::text::encode(&mut text, registry) {
        // Writing to a String does not fail; a collector of our own could.
        tracing::warn!(%error, "some metrics cannot be written");
    }
    text
}
