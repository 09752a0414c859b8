//! What the integration tests of the shop's services stand on: a PostgreSQL server of their own, the
//! services' processes, and an HTTP client.

#![allow(
    unreachable_pub,
    reason = "shared by test crates, none of which has an outside"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(dead_code, unused_imports, reason = "each of them uses a part")]

mod cluster;
mod http_client;
mod service;

pub use cluster::{Cluster, LockHolder};
pub use http_client::{Answer, HttpClient};
pub use service::Service;

use std::time::{Duration, Instant};

/// Waits until `probe` gives something, for at most 30 s; `what` is for the failure.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(
            Instant::now() < give_up,
            "this did not happen within 30 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
