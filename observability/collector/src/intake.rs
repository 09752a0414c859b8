//! The bounded queue between the receivers and the one writer.
//!
//! It is bounded by items and by bytes. A batch that does not fit is refused whole, at once: its sender has it still
//! and is told to come again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use prometheus_client::metrics::gauge::Gauge;

use crate::metrics::Metrics;
use crate::model::Batch;

/// The queue's bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Items in it at most.
    pub items: usize,
    /// Bytes in it at most.
    pub bytes: usize,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store does not keep up: {items} items wait for it, and {limit} may; send again in {retry_after_s} s"
)]
pub struct Full {
    /// Items that wait.
    pub items: usize,
    /// Items that may wait.
    pub limit: usize,
    /// When it is worth trying again.
    pub retry_after_s: u32,
}

/// What the writer receives.
#[derive(Debug)]
pub(crate) enum Message {
    Batch(Batch, Place),
    Stop,
}

#[derive(Debug, Default)]
struct Used {
    items: AtomicUsize,
    bytes: AtomicUsize,
    items_gauge: Gauge,
    bytes_gauge: Gauge,
}

/// A batch's place in the queue; free again when this is dropped, that is when the batch is committed.
#[derive(Debug)]
pub(crate) struct Place {
    used: Arc<Used>,
    items: usize,
    bytes: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let items = self.used.items.fetch_sub(self.items, Ordering::AcqRel) - self.items;
        let bytes = self.used.bytes.fetch_sub(self.bytes, Ordering::AcqRel) - self.bytes;
        self.used.items_gauge.set(as_gauge(items));
        self.used.bytes_gauge.set(as_gauge(bytes));
    }
}

/// The receivers' end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    sender: mpsc::Sender<Message>,
    used: Arc<Used>,
    limits: Limits,
    metrics: Metrics,
}

/// The writer's end.
#[derive(Debug)]
pub struct Outlet(pub(crate) mpsc::Receiver<Message>);

/// Makes the queue.
#[must_use]
pub fn queue(limits: Limits, metrics: Metrics) -> (Intake, Outlet) {
    let (sender, receiver) = mpsc::channel();
    let intake = Intake {
        sender,
        used: Arc::new(Used {
            items_gauge: metrics.queue_items.clone(),
            bytes_gauge: metrics.queue_bytes.clone(),
            ..Used::default()
        }),
        limits,
        metrics,
    };
    (intake, Outlet(receiver))
}

impl Intake {
    /// Queues a batch, and counts it either way.
    ///
    /// # Errors
    /// [`Full`] when it does not fit, or when the writer is gone. An empty queue takes a batch of any size.
    pub fn offer(&self, batch: Batch) -> Result<(), Full> {
        let (signal, items, bytes) = (batch.signal(), batch.items(), batch.bytes());
        if items == 0 {
            return Ok(());
        }
        let items_before = self.used.items.fetch_add(items, Ordering::AcqRel);
        let bytes_before = self.used.bytes.fetch_add(bytes, Ordering::AcqRel);
        let place = Place {
            used: Arc::clone(&self.used),
            items,
            bytes,
        };
        let fits = items_before == 0
            || (items_before + items <= self.limits.items
                && bytes_before + bytes <= self.limits.bytes);
        self.used.items_gauge.set(as_gauge(items_before + items));
        self.used.bytes_gauge.set(as_gauge(bytes_before + bytes));
        if fits && self.sender.send(Message::Batch(batch, place)).is_ok() {
            self.metrics.accepted(signal, items);
            return Ok(());
        }
        self.metrics.refused(signal, "queue_full", items);
        Err(Full {
            items: items_before,
            limit: self.limits.items,
            retry_after_s: 1,
        })
    }

    /// Lets the writer end once it has written what is queued.
    pub fn close(&self) {
        // An error means that it has ended already.
        let _ = self.sender.send(Message::Stop);
    }
}

fn as_gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
