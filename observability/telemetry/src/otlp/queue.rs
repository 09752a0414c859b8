//! A bounded queue between those who work and the one who sends.

use std::sync::Arc;

use tokio::sync::{
    Notify,
    mpsc::{self, error::TrySendError},
};

use super::metrics::SignalCounts;

/// The end that never waits.
#[derive(Debug, Clone)]
pub(super) struct Queue<T> {
    items: mpsc::Sender<T>,
    counts: SignalCounts,
    half_full: Arc<Notify>,
}

/// The sender's end.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    items: mpsc::Receiver<T>,
    pub(super) counts: SignalCounts,
    half_full: Arc<Notify>,
}

/// A queue of so many items.
pub(super) fn bounded<T>(capacity: usize, counts: SignalCounts) -> (Queue<T>, Waiting<T>) {
    let (sender, receiver) = mpsc::channel(capacity);
    let half_full = Arc::new(Notify::new());
    let queue = Queue {
        items: sender,
        counts: counts.clone(),
        half_full: Arc::clone(&half_full),
    };
    let waiting = Waiting {
        items: receiver,
        counts,
        half_full,
    };
    (queue, waiting)
}

impl<T> Queue<T> {
    /// Puts an item in line, or drops and counts it where the line is full or has been closed.
    pub(super) fn put(&self, item: T) {
        match self.items.try_send(item) {
            // The sender looks by itself often enough otherwise: no system call for each item.
            Ok(()) if self.items.capacity() == self.items.max_capacity() / 2 => {
                self.half_full.notify_one();
            }
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.counts.dropped_full(1),
            Err(TrySendError::Closed(_)) => self.counts.dropped_late(1),
        }
    }
}

impl<T> Waiting<T> {
    /// Up to `most` items, without waiting.
    pub(super) fn take(&mut self, most: usize) -> Vec<T> {
        std::iter::from_fn(|| self.items.try_recv().ok())
            .take(most)
            .collect()
    }

    /// Waits until half of the queue is in use.
    pub(super) async fn half_full(&self) {
        self.half_full.notified().await;
    }

    /// Refuses items from now on; those that are in line can still be taken.
    pub(super) fn close(&mut self) {
        self.items.close();
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.close();
        let left = self.take(usize::MAX).len();
        self.counts.dropped_late(left);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::otlp::metrics::Counts;

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted_to_the_item() {
        let counts = Counts::register(&mut Registry::default()).of("traces");
        let (queue, mut waiting) = bounded(4, counts.clone());
        for number in 0..10 {
            queue.put(number);
        }
        assert_eq!(counts.dropped(), 6);
        waiting.half_full().await;
        assert_eq!(waiting.take(3), [0, 1, 2]);
        queue.put(10);
        waiting.close();
        queue.put(11);
        assert_eq!(counts.dropped(), 7);
        drop(waiting);
        assert_eq!(counts.dropped(), 9, "what was left, and nothing twice");
    }
}
