//! What is counted about sending.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

type Total = Counter<u64, AtomicU64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Signal {
    signal: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Loss {
    signal: &'static str,
    reason: &'static str,
}

/// `observastack_otlp_sent_total{signal}` and `observastack_otlp_dropped_total{signal,reason}`.
pub(super) struct Counts {
    sent: Family<Signal, Total>,
    dropped: Family<Loss, Total>,
}

impl Counts {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counts = Self {
            sent: Family::default(),
            dropped: Family::default(),
        };
        registry.register(
            "observastack_otlp_sent",
            "Spans or log records that the collector has taken",
            counts.sent.clone(),
        );
        registry.register(
            "observastack_otlp_dropped",
            "Spans or log records that were not sent: the queue was full, the collector did not take them in time, or the process ended",
            counts.dropped.clone(),
        );
        counts
    }

    /// Those of one signal, each there from the start.
    pub(super) fn of(&self, signal: &'static str) -> SignalCounts {
        let dropped = |reason| self.dropped.get_or_create_owned(&Loss { signal, reason });
        SignalCounts {
            sent: self.sent.get_or_create_owned(&Signal { signal }),
            full: dropped("queue_full"),
            refused: dropped("not_taken"),
            late: dropped("shutdown"),
        }
    }
}

/// The counters of one signal.
#[derive(Clone, Debug)]
pub(super) struct SignalCounts {
    pub(super) sent: Total,
    full: Total,
    refused: Total,
    late: Total,
}

impl SignalCounts {
    pub(super) fn sent(&self, items: usize) {
        self.sent.inc_by(items as u64);
    }

    pub(super) fn dropped_full(&self, items: usize) {
        self.full.inc_by(items as u64);
    }

    pub(super) fn dropped_refused(&self, items: usize) {
        self.refused.inc_by(items as u64);
    }

    pub(super) fn dropped_late(&self, items: usize) {
        self.late.inc_by(items as u64);
    }

    #[cfg(test)]
    pub(super) fn dropped(&self) -> u64 {
        self.full.get() + self.refused.get() + self.late.get()
    }
}
