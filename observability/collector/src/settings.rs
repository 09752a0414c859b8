//! Arguments as they were given, and settings as they are used.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Uri;
use clap::Parser;

use crate::forward::Targets;
use crate::{intake, otlp, store};

/// ObservaStack's collector: receives OTLP and profiles, keeps the newest, answers questions.
#[derive(Debug, Parser)]
#[command(version)]
#[allow(missing_docs)]
pub struct Args {
    /// Address of OTLP/gRPC.
    #[arg(long, env = "OBSERVASTACK_OTLP_GRPC", default_value = "127.0.0.1:4317")]
    pub otlp_grpc: SocketAddr,
    /// Address of OTLP/HTTP and of Pyroscope's push API.
    #[arg(long, env = "OBSERVASTACK_OTLP_HTTP", default_value = "127.0.0.1:4318")]
    pub otlp_http: SocketAddr,
    /// Address of the query API.
    #[arg(long, env = "OBSERVASTACK_QUERY", default_value = "127.0.0.1:4320")]
    pub query: SocketAddr,
    /// Address of /metrics.
    #[arg(long, env = "OBSERVASTACK_METRICS", default_value = "127.0.0.1:8304")]
    pub metrics: SocketAddr,
    /// Directory of the store.
    #[arg(
        long,
        env = "OBSERVASTACK_STORE_DIR",
        default_value = "/var/lib/observastack/collector"
    )]
    pub store_dir: PathBuf,
    /// Size of the store, in MiB: the oldest goes when it is larger.
    #[arg(long, env = "OBSERVASTACK_STORE_MIB", default_value_t = 1_024)]
    pub store_mib: u64,
    /// Age of what is stored: what is older goes.
    #[arg(long, env = "OBSERVASTACK_STORE_AGE", default_value = "3days", value_parser = humantime::parse_duration)]
    pub store_age: Duration,
    /// Free space that is left on the store's disk, in MiB: the oldest goes when there is less.
    #[arg(long, env = "OBSERVASTACK_DISK_RESERVE_MIB", default_value_t = 64)]
    pub disk_reserve_mib: u64,
    /// Items that may wait for the store; more are refused.
    #[arg(long, env = "OBSERVASTACK_QUEUE_ITEMS", default_value_t = 20_000)]
    pub queue_items: usize,
    /// Size of what may wait for the store, in MiB.
    #[arg(long, env = "OBSERVASTACK_QUEUE_MIB", default_value_t = 16)]
    pub queue_mib: usize,
    /// Size of one request, unpacked, in MiB; a larger one is refused.
    #[arg(long, env = "OBSERVASTACK_REQUEST_MIB", default_value_t = 4)]
    pub request_mib: usize,
    /// How long one request's body may take to come.
    #[arg(long, env = "OBSERVASTACK_REQUEST_TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub request_time: Duration,
    /// Where spans are forwarded to: an OTLP/HTTP endpoint such as http://127.0.0.1:14318/v1/traces.
    #[arg(long, env = "OBSERVASTACK_FORWARD_TRACES")]
    pub forward_traces: Option<Uri>,
    /// Where log records are forwarded to: an OTLP/HTTP endpoint such as http://127.0.0.1:3100/otlp/v1/logs.
    #[arg(long, env = "OBSERVASTACK_FORWARD_LOGS")]
    pub forward_logs: Option<Uri>,
    /// Where profiles are forwarded to: such as http://127.0.0.1:4040/push.v1.PusherService/Push.
    #[arg(long, env = "OBSERVASTACK_FORWARD_PROFILES")]
    pub forward_profiles: Option<Uri>,
}

/// Settings that make sense.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Settings {
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    pub query: SocketAddr,
    pub metrics: SocketAddr,
    pub store_dir: PathBuf,
    pub bounds: store::Bounds,
    pub queue: intake::Limits,
    pub requests: otlp::Limits,
    pub targets: Targets,
}

/// An argument that makes none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{name} {value} is not possible: {expected}")]
pub struct SettingsError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl Args {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// The first argument that makes no sense.
    pub fn validate(self) -> Result<Settings, SettingsError> {
        let at_least = |name, value: u64, least: u64, expected| {
            if value >= least {
                return Ok(());
            }
            Err(SettingsError {
                name,
                value: value.to_string(),
                expected,
            })
        };
        at_least("store-mib", self.store_mib, 8, "8 or more")?;
        at_least("store-age", self.store_age.as_secs(), 1, "a second or more")?;
        at_least("queue-items", self.queue_items as u64, 1, "1 or more")?;
        at_least("queue-mib", self.queue_mib as u64, 1, "1 or more")?;
        at_least("request-mib", self.request_mib as u64, 1, "1 or more")?;
        at_least(
            "request-time",
            self.request_time.as_secs(),
            1,
            "a second or more",
        )?;
        Ok(Settings {
            targets: Targets {
                traces: http("forward-traces", self.forward_traces)?,
                logs: http("forward-logs", self.forward_logs)?,
                profiles: http("forward-profiles", self.forward_profiles)?,
            },
            bounds: store::Bounds {
                bytes: self.store_mib.saturating_mul(1 << 20),
                age: self.store_age,
                disk_reserve_bytes: self.disk_reserve_mib.saturating_mul(1 << 20),
            },
            queue: intake::Limits {
                items: self.queue_items,
                bytes: self.queue_mib.saturating_mul(1 << 20),
            },
            requests: otlp::Limits {
                body_bytes: self.request_mib.saturating_mul(1 << 20),
                // Several of the largest at once, whatever that is.
                all_bodies_bytes: self.request_mib.saturating_mul(6 << 20),
                body_time: self.request_time,
            },
            otlp_grpc: self.otlp_grpc,
            otlp_http: self.otlp_http,
            query: self.query,
            metrics: self.metrics,
            store_dir: self.store_dir,
        })
    }
}

/// Backends are on this machine or on a network of the lab's own: there is no TLS.
fn http(name: &'static str, target: Option<Uri>) -> Result<Option<Uri>, SettingsError> {
    match target {
        Some(uri) if uri.scheme_str() != Some("http") || uri.host().is_none() => {
            Err(SettingsError {
                name,
                value: uri.to_string(),
                expected: "a whole address that begins with http://",
            })
        }
        target => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        assert!(Args::parse_from(["collector"]).validate().is_ok());
    }

    #[test]
    fn what_makes_none_is_named() {
        for (argument, value) in [
            ("--store-mib", "1"),
            ("--store-age", "0s"),
            ("--queue-items", "0"),
            ("--forward-logs", "https://loki/otlp/v1/logs"),
            ("--forward-traces", "/v1/traces"),
        ] {
            let error = Args::parse_from(["collector", argument, value])
                .validate()
                .unwrap_err();
            assert!(error.to_string().contains(argument), "{error}");
        }
    }
}
