//! What was counted, for Prometheus.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use observastack_abi::telemetry::histogram::end_ns;
use observastack_spec::kernel::Times;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    engine::Told,
    families::{Kind, Value, families},
};

/// What the engine said last. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<Option<Told>>>);

impl Shown {
    pub(crate) fn show(&self, told: Told) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = &*shown else {
            return Ok(());
        };
        for family in families(told) {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut described = encoder.encode_descriptor(&family.name, family.help, None, kind)?;
            for (labels, value) in &family.series {
                let encoder = described.encode_family(labels)?;
                match value {
                    Value::Count(count) => ConstCounter::new(*count).encode(encoder)?,
                    Value::Sum(sum) => ConstCounter::new(*sum).encode(encoder)?,
                    Value::Gauge(value) => ConstGauge::new(*value).encode(encoder)?,
                    Value::Times(times) => Buckets(times).encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

/// Durations as a histogram of the exposition format.
struct Buckets<'a>(&'a Times);

impl EncodeMetric for Buckets<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let ends = self.0.buckets.iter().enumerate();
        let buckets: Vec<(f64, u64)> = ends
            .map(|(bucket, count)| {
                let end = end_ns(bucket).map_or(f64::INFINITY, |end| end as f64 / 1e9);
                (end, *count)
            })
            .collect();
        let sum = self.0.sum_ns as f64 / 1e9;
        encoder.encode_histogram::<NoLabelSet>(sum, self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use observastack_loader::observer::{Probe, ProbeState, ProgramRuns, Snapshot};
    use observastack_spec::kernel::{CgroupReport, KernelReport, ListenerReport, UnitReport};
    use observastack_telemetry::metrics::{Registry, encode};

    use super::*;

    #[test]
    fn what_was_counted_is_told_by_unit() {
        let mut buckets = vec![0; 28];
        (buckets[2], buckets[27]) = (3, 1);
        let unit = UnitReport {
            run_queue: Times {
                buckets,
                sum_ns: 1_500_000_000,
            },
            tcp_resets_sent: 4,
            packet_drops: [("no_socket".to_owned(), 5)].into(),
            preempted_by: [("b.service".to_owned(), 6)].into(),
            listeners: vec![ListenerReport {
                port: 8000,
                waiting: 1,
                limit: 128,
                drops: 7,
            }],
            cgroup: Some(CgroupReport {
                cpu_usage_us: 2_500_000,
                throttled_us: None,
                ..CgroupReport::default()
            }),
            ..UnitReport::default()
        };
        let told = Told {
            report: KernelReport {
                at_unix_ms: 0,
                units: [("a.service".to_owned(), unit)].into(),
                losses: [("events".to_owned(), 8)].into(),
            },
            snapshot: Arc::new(Snapshot {
                programs: vec![ProgramRuns {
                    name: "sched_switch",
                    probe: Probe::RunQueue,
                    count: 9,
                    time: std::time::Duration::from_millis(250),
                    verified_instructions: None,
                }],
                ..Snapshot::default()
            }),
            states: vec![ProbeState {
                probe: Probe::Syscalls,
                is_on: false,
                refusal: None,
            }],
            profile_refusal: None,
            unwritten: 10,
        };
        let shown = Shown::default();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(shown.clone()));
        shown.show(told);
        let text = encode(&registry);
        for line in [
            r#"observastack_run_queue_latency_seconds_bucket{le="0.000002048",unit="a.service"} 0"#,
            r#"observastack_run_queue_latency_seconds_bucket{le="0.000004096",unit="a.service"} 3"#,
            r#"observastack_run_queue_latency_seconds_bucket{le="+Inf",unit="a.service"} 4"#,
            r#"observastack_run_queue_latency_seconds_sum{unit="a.service"} 1.5"#,
            r#"observastack_tcp_resets_total{unit="a.service",direction="sent"} 4"#,
            r#"observastack_packet_drops_total{unit="a.service",reason="no_socket"} 5"#,
            r#"observastack_preemptions_total{unit="a.service",by="b.service"} 6"#,
            r#"observastack_tcp_listen_drops_total{unit="a.service",port="8000"} 7"#,
            r#"observastack_cpu_usage_seconds_total{unit="a.service"} 2.5"#,
            r#"observastack_observer_losses_total{kind="events"} 8"#,
            r#"observastack_observer_losses_total{kind="journal_lines"} 10"#,
            r#"observastack_bpf_program_runs_total{program="sched_switch"} 9"#,
            r#"observastack_bpf_program_run_seconds_total{program="sched_switch"} 0.25"#,
            r#"observastack_observer_probe_on{probe="syscalls"} 0"#,
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        assert!(
            !text.contains("throttled"),
            "a figure that is not there:\n{text}"
        );
    }
}
