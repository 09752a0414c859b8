//! Sends what waits: so many deliveries at a time, each of a confirmation that was claimed for it.
//!
//! ```text
//! claim ──> read ──> render ──> spool ──> hand over ──> mark as sent
//!              └── failed ──┴─────┴────────────┴──> rest, or give up
//! ```

use std::sync::Arc;
use std::time::Duration;

use observastack_kit::config::ConfigStore;
use observastack_kit::database::{Database, DatabaseError, Listener};
use observastack_kit::lifecycle::stopped;
use observastack_telemetry::traces::{self, TracedSpan};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::backoff;
use crate::metrics::WorkerMetrics;
use crate::queue::{self, Claimed};
use crate::settings::WorkerConfig;
use crate::spool::Spool;

/// What orders are announced on, once they are committed.
pub const CHANNEL: &str = "confirmations";

/// Why a confirmation was not sent this time.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("there is no order with lines of this id")]
    NoOrder,
    #[error("cannot keep the message: {0}")]
    Spool(#[from] std::io::Error),
    #[error("the delivery was not carried out: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

impl DeliveryError {
    /// The word for it in traces.
    fn code(&self) -> &'static str {
        match self {
            DeliveryError::Database(error) => error.code(),
            DeliveryError::NoOrder => "no_order",
            DeliveryError::Spool(_) => "spool",
            DeliveryError::Lost(_) => "lost",
        }
    }
}

/// What deliveries work with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Deliveries {
    /// The live configuration.
    pub config: ConfigStore<WorkerConfig>,
    /// Where the queue is.
    pub database: Database,
    /// Where messages are kept.
    pub spool: Arc<Spool>,
    /// The figures.
    pub metrics: WorkerMetrics,
}

impl Deliveries {
    /// Sends until the stop, then finishes what is under way.
    pub async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let listener = Listener::start(self.database.clone(), CHANNEL);
        let mut under_way = JoinSet::new();
        let mut was_down = false;
        loop {
            while under_way.try_join_next().is_some() {}
            let config = self.config.current();
            let most = config.config.workers;
            self.metrics.workers(most);
            let free = most.saturating_sub(under_way.len());
            let mut may_wait_more = false;
            if free > 0 {
                let lease = config.config.delivery.lease();
                let claimed = traces::unrecorded()
                    .around(queue::claim(&self.database, free, lease))
                    .await;
                match claimed {
                    Ok(claimed) => {
                        was_down = false;
                        may_wait_more = claimed.len() == free;
                        for claimed in claimed {
                            under_way.spawn(self.clone().deliver(claimed));
                        }
                    }
                    Err(error) => {
                        if !was_down {
                            tracing::warn!(%error, "nothing can be claimed, trying on");
                        }
                        was_down = true;
                    }
                }
            }
            let is_full = free == 0 || may_wait_more;
            let interval = Duration::from_millis(config.config.poll_interval_ms);
            tokio::select! {
                () = stopped(&mut shutdown) => break,
                // A worker that is free looks for more at once where there may be more.
                Some(_) = under_way.join_next(), if is_full => {}
                // Also when the database is back.
                () = listener.heard(), if !is_full => {}
                () = tokio::time::sleep(interval) => {}
            }
        }
        drop(listener);
        tracing::info!(deliveries = under_way.len(), "nothing is claimed any more");
        while under_way.join_next().await.is_some() {}
    }

    /// One delivery, with what is done when it fails.
    async fn deliver(self, claimed: Claimed) {
        let _busy = self.metrics.delivery_begins();
        let span = traces::internal("deliver_confirmation");
        span.set("observastack.order.id", claimed.order_id);
        span.set("observastack.attempt", i64::from(claimed.attempt));
        span.around(self.deliver_within(claimed, &span)).await;
    }

    async fn deliver_within(&self, claimed: Claimed, span: &TracedSpan) {
        let Claimed { order_id, attempt } = claimed;
        let error = match self.try_deliver(claimed).await {
            Ok(Some(delay)) => {
                self.metrics.sent(delay);
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                tracing::debug!(order_id, attempt, delay_ms, "confirmation sent");
                return;
            }
            Ok(None) => {
                tracing::warn!(
                    order_id,
                    attempt,
                    "the confirmation was sent twice: its claim ran out"
                );
                return;
            }
            Err(error) => error,
        };
        span.failed(error.code(), || error.to_string());
        let words = error.to_string();
        let retries = self.config.current().config.retries.clone();
        let marked = if attempt >= retries.max_attempts {
            self.metrics.outcome("given_up");
            tracing::error!(order_id, attempt, error = words, "confirmation given up");
            queue::give_up(&self.database, claimed, &words).await
        } else {
            self.metrics.outcome("failed");
            let pause = backoff::pause(retries.backoff(), attempt, rand::random());
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                order_id,
                attempt,
                pause_ms,
                error = words,
                "confirmation not sent"
            );
            queue::mark_failed(&self.database, claimed, pause, &words).await
        };
        if let Err(error) = marked {
            tracing::debug!(order_id, %error, "the claim has to end by itself");
        }
    }

    /// The time from the order to its confirmation; `None` where another worker was faster.
    async fn try_deliver(&self, claimed: Claimed) -> Result<Option<Duration>, DeliveryError> {
        let config = self.config.current();
        let confirmation = queue::read(&self.database, claimed.order_id)
            .await?
            .ok_or(DeliveryError::NoOrder)?;
        let (spool, keep) = (Arc::clone(&self.spool), config.config.spool.keep);
        let keeping = traces::internal("spool_message");
        let work = tokio::task::spawn_blocking(move || {
            spool.put(
                confirmation.order_id,
                confirmation.render().as_bytes(),
                keep,
            )
        });
        let kept = work.await?;
        if let Err(error) = &kept {
            keeping.failed("spool", || error.to_string());
        }
        drop(keeping);
        kept?;
        // The mail provider, which is simulated.
        let handing_over = traces::internal("hand_over_message");
        tokio::time::sleep(config.config.delivery.handover()).await;
        drop(handing_over);
        Ok(queue::mark_sent(&self.database, claimed.order_id).await?)
    }
}
