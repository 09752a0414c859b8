//! What the collector says about itself. Every item that comes in ends in exactly one of these counters.
//!
//! sent = accepted + refused + rejected, and accepted = stored + dropped, once the queue is empty.

use observastack_telemetry::metrics::{Registry, registry};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::model::Signal;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSignal {
    signal: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    signal: &'static str,
    reason: &'static str,
}

/// The counters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    accepted: Family<OfSignal, Counter>,
    refused: Family<OfReason, Counter>,
    rejected: Family<OfReason, Counter>,
    stored: Family<OfSignal, Counter>,
    dropped: Family<OfReason, Counter>,
    evicted: Family<OfReason, Counter>,
    forwarded: Family<OfSignal, Counter>,
    forward_dropped: Family<OfReason, Counter>,
    bad_requests: Family<OfReason, Counter>,
    /// Items in the queue before the store.
    pub queue_items: Gauge,
    /// Their bytes.
    pub queue_bytes: Gauge,
    /// Bytes of the store in use.
    pub store_bytes: Gauge,
}

impl Metrics {
    /// Makes the counters, in a registry with what every process has.
    #[must_use]
    pub fn register() -> (Registry, Self) {
        let mut registry = registry("observastack-collector", env!("CARGO_PKG_VERSION"));
        let metrics = Self::default();
        let mut family = |name: &str, help: &str, family: &Family<OfReason, Counter>| {
            registry.register(
                format!("observastack_collector_{name}"),
                help,
                family.clone(),
            );
        };
        family(
            "refused_items",
            "Items that were answered with a request to come again",
            &metrics.refused,
        );
        family(
            "rejected_items",
            "Items that are not valid, told to their sender as a partial success",
            &metrics.rejected,
        );
        family(
            "dropped_items",
            "Items that were accepted and not stored",
            &metrics.dropped,
        );
        family(
            "evicted_items",
            "Stored items that were deleted to keep the store's bounds",
            &metrics.evicted,
        );
        family(
            "forward_dropped_items",
            "Items that were not forwarded",
            &metrics.forward_dropped,
        );
        family(
            "bad_requests",
            "Requests that could not be read",
            &metrics.bad_requests,
        );
        for (name, help, family) in [
            (
                "accepted_items",
                "Items that were accepted",
                &metrics.accepted,
            ),
            (
                "stored_items",
                "Items that were committed to the store",
                &metrics.stored,
            ),
            (
                "forwarded_items",
                "Items that a backend took",
                &metrics.forwarded,
            ),
        ] {
            registry.register(
                format!("observastack_collector_{name}"),
                help,
                family.clone(),
            );
        }
        for (name, help, gauge) in [
            (
                "queue_items",
                "Items that wait for the store",
                &metrics.queue_items,
            ),
            (
                "queue_bytes",
                "Bytes that wait for the store",
                &metrics.queue_bytes,
            ),
            (
                "store_bytes",
                "Bytes of the store in use",
                &metrics.store_bytes,
            ),
        ] {
            registry.register(
                format!("observastack_collector_{name}"),
                help,
                gauge.clone(),
            );
        }
        (registry, metrics)
    }

    /// Items that are on their way to the store.
    pub fn accepted(&self, signal: Signal, items: usize) {
        add(
            &self.accepted,
            OfSignal {
                signal: signal.label(),
            },
            items,
        );
    }

    /// Items whose sender was asked to come again.
    pub fn refused(&self, signal: Signal, reason: &'static str, items: usize) {
        add(&self.refused, reason_of(signal, reason), items);
    }

    /// Items that are not valid.
    pub fn rejected(&self, signal: Signal, reason: &'static str, items: usize) {
        add(&self.rejected, reason_of(signal, reason), items);
    }

    /// Items that are committed.
    pub fn stored(&self, signal: Signal, items: usize) {
        add(
            &self.stored,
            OfSignal {
                signal: signal.label(),
            },
            items,
        );
    }

    /// Items that were accepted and are lost.
    pub fn dropped(&self, signal: Signal, reason: &'static str, items: usize) {
        add(&self.dropped, reason_of(signal, reason), items);
    }

    /// Stored items that were deleted.
    pub fn evicted(&self, signal: Signal, reason: &'static str, items: usize) {
        add(&self.evicted, reason_of(signal, reason), items);
    }

    /// Items that a backend took.
    pub fn forwarded(&self, signal: Signal, items: usize) {
        add(
            &self.forwarded,
            OfSignal {
                signal: signal.label(),
            },
            items,
        );
    }

    /// Items that no backend got.
    pub fn forward_dropped(&self, signal: Signal, reason: &'static str, items: usize) {
        add(&self.forward_dropped, reason_of(signal, reason), items);
    }

    /// A request that could not be read.
    pub fn bad_request(&self, signal: Signal, reason: &'static str) {
        add(&self.bad_requests, reason_of(signal, reason), 1);
    }
}

fn reason_of(signal: Signal, reason: &'static str) -> OfReason {
    OfReason {
        signal: signal.label(),
        reason,
    }
}

fn add<L>(family: &Family<L, Counter>, labels: L, items: usize)
where
    L: Clone + std::hash::Hash + Eq,
{
    if items > 0 {
        family.get_or_create(&labels).inc_by(items as u64);
    }
}
