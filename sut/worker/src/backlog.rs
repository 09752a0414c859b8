//! How many confirmations wait, and for how long: the table is asked now and then, not at each scrape.

use std::time::Duration;

use observastack_kit::database::Database;
use observastack_kit::lifecycle::stopped;
use observastack_telemetry::traces;
use tokio::sync::watch;

use crate::metrics::WorkerMetrics;
use crate::queue;

/// Half of what lies between two scrapes, at most.
const INTERVAL: Duration = Duration::from_secs(2);

/// Keeps the gauges current until the stop.
pub async fn watch(
    database: Database,
    metrics: WorkerMetrics,
    mut shutdown: watch::Receiver<bool>,
) {
    loop {
        match traces::unrecorded().around(queue::look(&database)).await {
            Ok(waiting) => metrics.seen(&waiting),
            // The health check tells of it; what was seen last stays.
            Err(error) => tracing::debug!(%error, "the queue cannot be looked at"),
        }
        tokio::select! {
            () = stopped(&mut shutdown) => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
