//! The gateway's configuration: every value that an operator may change, its default and what is allowed.
//!
//! Everything is live unless its documentation says "restart": the proxy reads the current snapshot at the start of each
//! request, so a request sees one version from its first phase to its last. Listen addresses are command line arguments.

mod validate;

use std::net::SocketAddr;

use observastack_kit::config::{FieldError, ServiceConfig};
use observastack_kit::traces::TraceSettings;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// The whole configuration of the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// The API instances that requests are balanced over, 1 to 64, each address once. Live: requests in flight stay where they are.
    pub upstreams: Vec<UpstreamConfig>,
    /// How an upstream is chosen. Live.
    pub balancing: BalancingConfig,
    /// Active health checks and the passive avoidance of upstreams that refuse connections. Live.
    pub health_check: HealthCheckConfig,
    /// Time limits of a request. Live, for requests that start afterwards.
    pub timeouts: TimeoutConfig,
    /// Connection reuse on both sides. Live, except `upstream_pool_size`.
    pub keepalive: KeepaliveConfig,
    /// When and how often a failed attempt is tried again. Live.
    pub retries: RetryConfig,
    /// Limits on the rate of requests. Live.
    pub rate_limit: RateLimitConfig,
    /// Limits on connections, concurrent requests and body size. Live.
    pub limits: LimitConfig,
    /// Which requests are written to the access log. Live.
    pub access_log: AccessLogMode,
    /// Which traces that begin here are recorded. Live.
    pub traces: TraceSettings,
    /// Threads that serve requests, 1 to 64. Restart: the runtime is built once.
    pub worker_threads: usize,
    /// How long a stopping gateway waits for requests in flight, in ms, 0 to 300000. Live.
    pub drain_timeout_ms: u64,
}

/// One API instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// IP address and port. Host names are refused: resolving one would block or go stale. Required.
    #[serde(default = "no_address", deserialize_with = "address")]
    pub address: SocketAddr,
    /// Share of the traffic relative to the other upstreams, 1 to 100.
    #[serde(default = "default_weight")]
    pub weight: usize,
}

/// How an upstream is chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalancingConfig {
    /// The algorithm; all of them honour weights and skip unhealthy upstreams.
    pub algorithm: Algorithm,
    /// What `consistent_hash` hashes; the other algorithms ignore it.
    pub hash_on: HashOn,
}

/// The balancing algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// In turn.
    #[default]
    RoundRobin,
    /// At random, each request on its own.
    Random,
    /// Ketama: the same key goes to the same upstream, and few keys move when the list changes.
    ConsistentHash,
}

/// The part of a request that a consistent hash is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// The path, without the query.
    #[default]
    Path,
    /// The client's IP address.
    ClientIp,
}

/// Active checks (`GET path` must answer 200) and passive avoidance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthCheckConfig {
    /// Off means that every upstream counts as healthy.
    pub enabled: bool,
    /// Path of the check, starting with `/`.
    pub path: String,
    /// Pause between two rounds of checks, in ms, 50 to 60000.
    pub interval_ms: u64,
    /// Limit of one whole check, in ms, 10 to 60000.
    pub timeout_ms: u64,
    /// Consecutive passed checks that bring an upstream back, 1 to 100.
    pub healthy_after: usize,
    /// Consecutive failed checks that take an upstream out, 1 to 100. At start one failed check is enough.
    pub unhealthy_after: usize,
    /// After a failed connect, use other upstreams for so long, in ms, 0 (off) to 60000. It spares the retry budget in the
    /// time that the active check needs; when no other upstream is left this one is still used.
    pub avoid_after_connect_failure_ms: u64,
}

/// Time limits of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutConfig {
    /// Limit of the TCP connect to an upstream, in ms, 1 to 60000.
    pub connect_ms: u64,
    /// Limit of the wait for the next bytes of an upstream's answer, in ms, 1 to 300000.
    pub read_ms: u64,
    /// Limit of one write to an upstream, in ms, 1 to 300000.
    pub write_ms: u64,
    /// Limit of the whole request with all its attempts, in ms, 1 to 600000. Each attempt gets what is left of it. While an
    /// answer trickles in, it is looked at when bytes arrive, so it can end late by at most one `read_ms`.
    pub total_ms: u64,
}

/// Connection reuse on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepaliveConfig {
    /// How long an unused upstream connection is kept, in ms, 0 (no reuse) to 3600000. Live, for connections released afterwards.
    pub upstream_idle_ms: u64,
    /// Most unused upstream connections kept, 1 to 10000. Restart: pingora's pool is built once.
    pub upstream_pool_size: usize,
    /// How long a client's unused connection is kept, in seconds, 0 (no keep-alive) to 3600.
    pub downstream_idle_s: u64,
}

/// When and how often a failed attempt is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Attempts for a request with the first one counted, 1 (no retries) to 10.
    pub max_attempts: usize,
    /// The failures that are tried again.
    pub on: Vec<RetryOn>,
    /// The statuses that `status` means, each of 500 to 599.
    pub statuses: Vec<u16>,
    /// The retry budget shared by all requests.
    pub budget: RetryBudgetConfig,
}

/// A failure that can be tried again. All but `connect_failure` need an idempotent method and a body of 64 KiB or less, because
/// the upstream may have acted on the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// The connection could not be made (refused, unreachable, timed out): nothing was sent, so any method.
    ConnectFailure,
    /// The connection broke before an answer, such as a reused one that the upstream had closed.
    Reset,
    /// The upstream did not answer within `timeouts.read_ms`.
    Timeout,
    /// The upstream answered with one of `statuses`.
    Status,
}

/// Retries allowed in a sliding window: `ratio` x requests + `min_per_second` x seconds. It bounds how far retries can
/// multiply the load on upstreams that are failing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryBudgetConfig {
    /// Retries per request, 0.0 to 10.0.
    pub ratio: f64,
    /// Retries per second that are allowed whatever the traffic, 0 to 1000.
    pub min_per_second: u32,
    /// Length of the window in ms, 1000 to 60000.
    pub window_ms: u64,
}

/// Limits on the rate of requests; what is over them is answered 429 with `Retry-After`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimitConfig {
    /// All requests together.
    pub global: BucketConfig,
    /// Each client IP address on its own.
    pub per_client: BucketConfig,
}

/// A token bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BucketConfig {
    /// Off by default.
    pub enabled: bool,
    /// Tokens that flow in each second, above 0 up to 1000000.
    pub requests_per_second: f64,
    /// Tokens that a full bucket holds, 1 to 1000000.
    pub burst: u32,
}

/// Limits on connections, concurrent requests and body size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Connections of clients open at the same time, 1 to 100000; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Requests served at the same time, 1 to 100000; more are answered 503.
    pub max_in_flight: usize,
    /// Largest request body in bytes, 0 to 1073741824; a larger one is answered 413.
    pub max_body_bytes: u64,
}

/// Which requests are written to the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogMode {
    /// Every request.
    #[default]
    All,
    /// Requests answered 4xx or 5xx, or tried more than once.
    Errors,
    /// None.
    Off,
}

/// What an upstream's address has to be.
const ADDRESS_ALLOWED: &str = "an IP address and port to connect to, such as 127.0.0.1:8101";

fn default_weight() -> usize {
    1
}

/// Stands for an address that was left out; validation refuses it.
fn no_address() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom(ADDRESS_ALLOWED))
}

impl Default for GatewayConfig {
    fn default() -> Self {
        let api = |port| UpstreamConfig {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            weight: default_weight(),
        };
        Self {
            upstreams: vec![api(8101), api(8102)],
            balancing: BalancingConfig::default(),
            health_check: HealthCheckConfig::default(),
            timeouts: TimeoutConfig::default(),
            keepalive: KeepaliveConfig::default(),
            retries: RetryConfig::default(),
            rate_limit: RateLimitConfig::default(),
            limits: LimitConfig::default(),
            access_log: AccessLogMode::default(),
            traces: TraceSettings::default(),
            worker_threads: 2,
            drain_timeout_ms: 10_000,
        }
    }
}

impl Default for HealthCheckConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            path: "/healthz".to_owned(),
            interval_ms: 1_000,
            timeout_ms: 500,
            healthy_after: 2,
            unhealthy_after: 2,
            avoid_after_connect_failure_ms: 1_000,
        }
    }
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            connect_ms: 500,
            read_ms: 5_000,
            write_ms: 5_000,
            total_ms: 15_000,
        }
    }
}

impl Default for KeepaliveConfig {
    fn default() -> Self {
        Self {
            upstream_idle_ms: 30_000,
            upstream_pool_size: 128,
            downstream_idle_s: 60,
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_attempts: 2,
            on: vec![RetryOn::ConnectFailure, RetryOn::Reset],
            statuses: vec![502, 503, 504],
            budget: RetryBudgetConfig::default(),
        }
    }
}

impl Default for RetryBudgetConfig {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            min_per_second: 10,
            window_ms: 10_000,
        }
    }
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            global: BucketConfig::default(),
            per_client: BucketConfig {
                requests_per_second: 100.0,
                burst: 50,
                ..BucketConfig::default()
            },
        }
    }
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            requests_per_second: 1_000.0,
            burst: 200,
        }
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            max_in_flight: 1_024,
            max_body_bytes: 1_048_576,
        }
    }
}

impl ServiceConfig for GatewayConfig {
    fn validate(&self) -> Result<(), Vec<FieldError>> {
        validate::validate(self)
    }

    fn restart_fields() -> &'static [&'static str] {
        &["keepalive.upstream_pool_size", "worker_threads"]
    }
}
