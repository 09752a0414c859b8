//! OTLP: a process's spans and log records, sent to a collector in the background.
//!
//! What is sent waits in a bounded queue for each signal. When the collector is dead, slow or full the queue fills, and what comes
//! then is dropped and counted: nothing that answers a request ever waits. One thread does all the sending.
//!
//! Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set; the other variables are OpenTelemetry's as well (see [`Settings`]).

mod logs;
mod metrics;
mod queue;
mod sampler;
mod settings;
mod spans;
mod worker;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{Resource, logs::SdkLoggerProvider, trace::SdkTracerProvider};
use prometheus_client::registry::Registry;

pub(crate) use sampler::Unsent;
pub use sampler::{Sampling, set_sampling};
pub use settings::{Settings, SettingsError};
pub(crate) use settings::{is_http_base, variable};

use crate::traces;

/// Who sends: the resource that every span and record belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `service.name`, such as `observastack-api`.
    pub service: &'static str,
    /// `service.instance.id`, such as `observastack-api@1`.
    pub instance: String,
    /// `service.version`.
    pub version: &'static str,
}

impl Identity {
    fn resource(&self) -> Resource {
        Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.namespace", "observastack"),
                KeyValue::new("service.name", self.service),
                KeyValue::new("service.instance.id", self.instance.clone()),
                KeyValue::new("service.version", self.version),
                KeyValue::new("systemd.unit", format!("{}.service", self.instance)),
                KeyValue::new("telemetry.sdk.language", "rust"),
                KeyValue::new("telemetry.sdk.name", "opentelemetry"),
            ])
            .build()
    }
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// A variable of the environment is malformed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The sender's thread or its parts can't be made.
    #[error("the OTLP sender cannot be started: {reason}")]
    Start {
        /// What failed.
        reason: String,
    },
    /// There is one already.
    #[error("OTLP is set up already in this process")]
    AlreadySet,
}

/// The sender. [`Self::shut_down`] sends what waits; dropping it does not.
#[derive(Debug)]
pub struct Pipeline {
    worker: Option<worker::Worker>,
}

/// Starts to send, as the environment says, and registers what is counted about it.
///
/// Spans are made by [`traces`] from now on, and log records are taken from the subscriber that [`crate::logs::init`] has set up.
///
/// # Errors
/// The environment is malformed, there is no thread to be had, or it is the second time.
pub fn start(identity: &Identity, registry: &mut Registry) -> Result<Pipeline, OtlpError> {
    let settings = Settings::from_environment()?;
    let counts = metrics::Counts::register(registry);
    let Some(settings) = settings else {
        traces::install(&traces::unsent()).map_err(|()| OtlpError::AlreadySet)?;
        return Ok(Pipeline { worker: None });
    };
    let resource = identity.resource();
    let (span_queue, waiting_spans) = queue::bounded(settings.queue, counts.of("traces"));
    let (log_queue, waiting_logs) = queue::bounded(settings.queue, counts.of("logs"));
    let worker = worker::Worker::start(&settings, &resource, waiting_spans, waiting_logs)?;
    let spans = SdkTracerProvider::builder()
        .with_sampler(sampler::Root)
        .with_resource(resource.clone())
        .with_span_processor(spans::Sender(span_queue))
        .build();
    traces::install(&spans).map_err(|()| OtlpError::AlreadySet)?;
    let logs = SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_log_processor(logs::Sender(log_queue))
        .build();
    crate::logs::also_to(OpenTelemetryTracingBridge::new(&logs));
    Ok(Pipeline {
        worker: Some(worker),
    })
}

impl Pipeline {
    /// Sends what waits, for at most so long; what is left then is counted as dropped.
    pub fn shut_down(self, limit: Duration) {
        if let Some(worker) = self.worker {
            worker.shut_down(limit);
        }
    }
}
