//! The thread that sends.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_otlp::{LogExporter, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter as _},
    trace::{SpanData, SpanExporter as _},
};
use tokio::sync::watch;

use super::{OtlpError, Settings, logs::Written, metrics::SignalCounts, queue::Waiting};

/// How many items travel together, as OpenTelemetry recommends.
const BATCH: usize = 512;

/// Sends until it is shut down.
#[derive(Debug)]
pub(super) struct Worker {
    stop: watch::Sender<Option<Duration>>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(
        settings: &Settings,
        resource: &Resource,
        spans: Waiting<SpanData>,
        logs: Waiting<Written>,
    ) -> Result<Self, OtlpError> {
        let failed = |error: &dyn std::error::Error| OtlpError::Start {
            reason: error.to_string(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let mut span_exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", settings.endpoint))
            .with_timeout(settings.timeout)
            .build()
            .map_err(|error| failed(&error))?;
        let mut log_exporter = LogExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/logs", settings.endpoint))
            .with_timeout(settings.timeout)
            .build()
            .map_err(|error| failed(&error))?;
        span_exporter.set_resource(resource);
        log_exporter.set_resource(resource);
        let (stop, stopped) = watch::channel(None);
        let delay = settings.delay;
        let thread = thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || {
                // What the exporters log and the clients that they use would be sent by them again, and so on.
                let _quiet = Context::enter_telemetry_suppressed_scope();
                runtime.block_on(async {
                    tokio::join!(
                        send_all(spans, delay, stopped.clone(), async |batch| {
                            span_exporter.export(batch).await
                        }),
                        send_all(logs, delay, stopped, async |batch: Vec<Written>| {
                            let records: Vec<_> = batch
                                .iter()
                                .map(|(record, scope)| (record, scope))
                                .collect();
                            log_exporter.export(LogBatch::new(&records)).await
                        }),
                    );
                });
            })
            .map_err(|error| failed(&error))?;
        Ok(Self { stop, thread })
    }

    /// Lets it send what waits, for so long.
    pub(super) fn shut_down(self, limit: Duration) {
        let _ = self.stop.send(Some(limit));
        if self.thread.join().is_err() {
            tracing::error!("the OTLP sender has panicked");
        }
    }
}

/// Sends until told to stop, and then for as long as is allowed; what is left is counted when it is dropped.
async fn send_all<T>(
    waiting: Waiting<T>,
    delay: Duration,
    stopped: watch::Receiver<Option<Duration>>,
    export: impl AsyncFnMut(Vec<T>) -> OTelSdkResult,
) {
    let mut told = stopped.clone();
    let time_is_up = async {
        let limit = told.wait_for(Option::is_some).await;
        let limit = limit.ok().and_then(|limit| *limit).unwrap_or_default();
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        () = in_batches(waiting, delay, stopped, export) => {}
        () = time_is_up => {}
    }
}

async fn in_batches<T>(
    mut waiting: Waiting<T>,
    delay: Duration,
    mut stopped: watch::Receiver<Option<Duration>>,
    mut export: impl AsyncFnMut(Vec<T>) -> OTelSdkResult,
) {
    let mut trouble = Trouble::default();
    let mut is_last = false;
    while !is_last {
        is_last = tokio::select! {
            _ = stopped.wait_for(Option::is_some) => true,
            () = tokio::time::sleep(delay) => false,
            () = waiting.half_full() => false,
        };
        if is_last {
            waiting.close();
        }
        loop {
            let batch = waiting.take(BATCH);
            if batch.is_empty() {
                break;
            }
            let travelling = Travelling::of(&batch, waiting.counts.clone());
            let sent = export(batch).await;
            travelling.arrived(sent.is_ok());
            trouble.hear(sent);
        }
    }
}

/// Items that nobody has counted yet: the time may be up while they are being sent.
struct Travelling {
    items: usize,
    counts: SignalCounts,
}

impl Travelling {
    fn of<T>(batch: &[T], counts: SignalCounts) -> Self {
        Self {
            items: batch.len(),
            counts,
        }
    }

    fn arrived(mut self, did: bool) {
        let items = std::mem::take(&mut self.items);
        if did {
            self.counts.sent(items);
        } else {
            self.counts.dropped_refused(items);
        }
    }
}

impl Drop for Travelling {
    fn drop(&mut self) {
        self.counts.dropped_late(self.items);
    }
}

/// Says when sending begins to fail and when it works again, not each time.
#[derive(Default)]
struct Trouble {
    is_known: bool,
}

impl Trouble {
    fn hear(&mut self, sent: OTelSdkResult) {
        if sent.is_err() == self.is_known {
            return;
        }
        self.is_known = sent.is_err();
        match sent {
            Ok(()) => tracing::info!("the collector takes telemetry again"),
            Err(error) => {
                tracing::warn!(%error, "the collector does not take telemetry: it is dropped, and counted");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::otlp::{metrics::Counts, queue};

    const SOON: Duration = Duration::from_secs(30);

    fn counts() -> SignalCounts {
        Counts::register(&mut Registry::default()).of("traces")
    }

    #[tokio::test]
    async fn everything_that_waits_is_sent_before_the_end() {
        let (queue, waiting) = queue::bounded(10_000, counts());
        let counts = waiting.counts.clone();
        (0..2_000).for_each(|number| queue.put(number));
        let (stop, stopped) = watch::channel(None);
        let mut sizes = Vec::new();
        stop.send(Some(SOON)).unwrap();
        send_all(waiting, SOON, stopped, async |batch: Vec<i32>| {
            sizes.push(batch.len());
            Ok(())
        })
        .await;
        assert_eq!(sizes, [BATCH, BATCH, BATCH, 2_000 - 3 * BATCH]);
        assert_eq!((counts.sent.get(), counts.dropped()), (2_000, 0));
    }

    #[tokio::test]
    async fn a_collector_that_is_silent_holds_the_end_up_for_no_longer_than_allowed() {
        let (queue, waiting) = queue::bounded(10_000, counts());
        let counts = waiting.counts.clone();
        (0..2_000).for_each(|number| queue.put(number));
        let (stop, stopped) = watch::channel(None);
        stop.send(Some(Duration::from_millis(50))).unwrap();
        send_all(waiting, SOON, stopped, async |_: Vec<i32>| {
            std::future::pending().await
        })
        .await;
        assert_eq!((counts.sent.get(), counts.dropped()), (0, 2_000));
        queue.put(1);
        assert_eq!(counts.dropped(), 2_001);
    }

    #[tokio::test]
    async fn what_a_collector_refuses_is_counted_and_the_next_is_tried() {
        let (queue, waiting) = queue::bounded(10_000, counts());
        let counts = waiting.counts.clone();
        (0..1_000).for_each(|number| queue.put(number));
        let (stop, stopped) = watch::channel(None);
        stop.send(Some(SOON)).unwrap();
        let mut turn = 0;
        send_all(waiting, SOON, stopped, async |_: Vec<i32>| {
            turn += 1;
            if turn == 1 {
                Err(opentelemetry_sdk::error::OTelSdkError::InternalFailure(
                    "429".to_owned(),
                ))
            } else {
                Ok(())
            }
        })
        .await;
        let refused = BATCH as u64;
        assert_eq!(
            (counts.sent.get(), counts.dropped()),
            (1_000 - refused, refused)
        );
    }
}
