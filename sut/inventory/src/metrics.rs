//! The inventory's own figures.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::cache::CacheResult;
use crate::routes::StockCache;

/// Counters of the inventory; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct InventoryMetrics {
    cache_requests: Family<CacheLabels, Counter>,
    reservations: Family<ReservationLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReservationLabels {
    outcome: &'static str,
}

impl InventoryMetrics {
    /// Registers the counters, and figures read from `cache` at each scrape.
    pub fn register(registry: &mut Registry, cache: StockCache) -> Self {
        let metrics = InventoryMetrics::default();
        registry.register(
            "observastack_inventory_cache_requests",
            "Reads of stock: hit, miss (loaded), coalesced (waited for another's load), disabled",
            metrics.cache_requests.clone(),
        );
        registry.register(
            "observastack_inventory_reservations",
            "Reservations by what became of them",
            metrics.reservations.clone(),
        );
        registry.register_collector(Box::new(CacheCollector(cache)));
        metrics
    }

    /// Counts a read of the cache.
    pub fn cache_request(&self, result: CacheResult) {
        self.cache_requests
            .get_or_create(&CacheLabels {
                result: result.as_str(),
            })
            .inc();
    }

    /// Counts a reservation or release; `outcome` is one of a few fixed words.
    pub fn reservation(&self, outcome: &'static str) {
        self.reservations
            .get_or_create(&ReservationLabels { outcome })
            .inc();
    }
}

#[derive(Debug)]
struct CacheCollector(StockCache);

impl Collector for CacheCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let entries = ConstGauge::new(i64::try_from(self.0.len()).unwrap_or(i64::MAX));
        entries.encode(encoder.encode_descriptor(
            "observastack_inventory_cache_entries",
            "Entries in the cache",
            None,
            entries.metric_type(),
        )?)?;
        let evictions = ConstCounter::new(self.0.evictions());
        evictions.encode(encoder.encode_descriptor(
            "observastack_inventory_cache_evictions",
            "Entries that had to go for others",
            None,
            evictions.metric_type(),
        )?)
    }
}
