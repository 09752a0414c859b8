//! What was counted, for Prometheus.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use observastack_abi::telemetry::histogram::end_ns;
use observastack_spec::kernel::{CgroupReport, Times, UnitReport};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::engine::Told;

/// What the engine said last. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown(Arc<Mutex<Option<Told>>>);

impl Shown {
    pub(crate) fn show(&self, told: Told) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }
}

type Labels = Vec<(&'static str, String)>;

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shown {
            Some(told) => Families(encoder).all(told),
            None => Ok(()),
        }
    }
}

struct Families<'a>(DescriptorEncoder<'a>);

/// A unit's counter.
type Count = fn(&UnitReport) -> u64;
/// A unit's durations.
type TimesOf = fn(&UnitReport) -> &Times;
/// A figure of a unit's cgroup.
type CgroupFigure = fn(&CgroupReport) -> Option<f64>;

impl Families<'_> {
    fn all(&mut self, told: &Told) -> Result<(), fmt::Error> {
        let units = &told.report.units;
        self.times(units)?;
        self.counts(units)?;
        self.by_more_than_the_unit(units)?;
        self.cgroups(units)?;
        self.of_itself(told)
    }

    fn times(&mut self, units: &BTreeMap<String, UnitReport>) -> Result<(), fmt::Error> {
        let families: [(&str, &str, TimesOf); 4] = [
            (
                "run_queue_latency",
                "How long tasks that could run waited for a CPU",
                |unit| &unit.run_queue,
            ),
            (
                "tcp_connect_latency",
                "From a connection's first SYN to the answer, for connections that were made",
                |unit| &unit.tcp_connect,
            ),
            (
                "tcp_rtt",
                "Smoothed round-trip times of established connections, at one of eight segments that arrive",
                |unit| &unit.tcp_rtt,
            ),
            (
                "direct_reclaim",
                "How long tasks had to free memory themselves before they got some",
                |unit| &unit.reclaim,
            ),
        ];
        for (name, help, of) in families {
            let all = units
                .iter()
                .map(|(unit, report)| (of_unit(unit), Buckets(of(report))));
            self.family(&format!("{name}_seconds"), help, MetricType::Histogram, all)?;
        }
        let block_io = units.iter().flat_map(|(unit, report)| {
            report.block_io.iter().map(move |io| {
                let mut labels = of_unit(unit);
                labels.push(("device", io.device.clone()));
                labels.push(("operation", io.operation.clone()));
                (labels, Buckets(&io.times))
            })
        });
        self.family(
            "block_io_latency_seconds",
            "From when block I/O was submitted to its end",
            MetricType::Histogram,
            block_io,
        )?;
        let syscalls = units.iter().flat_map(|(unit, report)| {
            report.syscalls.iter().map(move |call| {
                let mut labels = of_unit(unit);
                labels.push(("syscall", call.name.clone()));
                (labels, Buckets(&call.times))
            })
        });
        self.family(
            "syscall_latency_seconds",
            "How long system calls took, of units that were asked for",
            MetricType::Histogram,
            syscalls,
        )
    }

    fn counts(&mut self, units: &BTreeMap<String, UnitReport>) -> Result<(), fmt::Error> {
        let families: [(&str, &str, Count); 6] = [
            (
                "tcp_connect_failures",
                "TCP connections that were asked for and not made",
                |unit| unit.tcp_connect_failures,
            ),
            (
                "tcp_retransmits",
                "TCP segments that were sent again",
                |unit| unit.tcp_retransmits,
            ),
            ("page_faults", "Page faults in user mode", |unit| {
                unit.page_faults
            }),
            ("process_execs", "Programs that were executed", |unit| {
                unit.execs
            }),
            (
                "oom_kills",
                "Processes that the kernel has killed for want of memory",
                |unit| unit.oom_kills,
            ),
            (
                "process_exits_by_signal",
                "Processes that a signal has ended",
                |unit| unit.exits_by_signal,
            ),
        ];
        for (name, help, of) in families {
            let all = units
                .iter()
                .map(|(unit, report)| (of_unit(unit), ConstCounter::new(of(report))));
            self.family(name, help, MetricType::Counter, all)?;
        }
        Ok(())
    }

    fn by_more_than_the_unit(
        &mut self,
        units: &BTreeMap<String, UnitReport>,
    ) -> Result<(), fmt::Error> {
        let exits = units
            .iter()
            .map(|(unit, report)| (of_unit(unit), ConstCounter::new(report.exits)));
        self.family(
            "process_exits",
            "Processes that have ended",
            MetricType::Counter,
            exits,
        )?;
        let resets = units.iter().flat_map(|(unit, report)| {
            [
                ("sent", report.tcp_resets_sent),
                ("received", report.tcp_resets_received),
            ]
            .map(|(direction, count)| {
                let mut labels = of_unit(unit);
                labels.push(("direction", direction.to_owned()));
                (labels, ConstCounter::new(count))
            })
        });
        self.family("tcp_resets", "TCP resets", MetricType::Counter, resets)?;
        self.labelled(
            units,
            "preemptions",
            "How often a unit's task had to make room although it could have gone on, by the unit whose task came",
            "by",
            |unit| &unit.preempted_by,
        )?;
        self.labelled(
            units,
            "packet_drops",
            "Packets that the kernel threw away, by its own reasons (enum skb_drop_reason)",
            "reason",
            |unit| &unit.packet_drops,
        )?;
        let errors = units.iter().flat_map(|(unit, report)| {
            report.syscalls.iter().flat_map(move |call| {
                call.errors.iter().map(move |(errno, count)| {
                    let mut labels = of_unit(unit);
                    labels.push(("syscall", call.name.clone()));
                    labels.push(("errno", errno.clone()));
                    (labels, ConstCounter::new(*count))
                })
            })
        });
        self.family(
            "syscall_errors",
            "System calls that failed, of units that were asked for",
            MetricType::Counter,
            errors,
        )?;
        let listeners = || {
            units.iter().flat_map(|(unit, report)| {
                report.listeners.iter().map(move |listener| {
                    let mut labels = of_unit(unit);
                    labels.push(("port", listener.port.to_string()));
                    (labels, listener)
                })
            })
        };
        self.family(
            "tcp_listen_drops",
            "Connections that were asked for and thrown away, mostly because as many as may waited to be accepted",
            MetricType::Counter,
            listeners().map(|(labels, listener)| (labels, ConstCounter::new(listener.drops))),
        )?;
        self.family(
            "tcp_accept_queue_connections",
            "Connections that wait to be accepted",
            MetricType::Gauge,
            listeners()
                .map(|(labels, listener)| (labels, ConstGauge::new(f64::from(listener.waiting)))),
        )?;
        self.family(
            "tcp_accept_queue_limit_connections",
            "How many connections may wait to be accepted",
            MetricType::Gauge,
            listeners()
                .map(|(labels, listener)| (labels, ConstGauge::new(f64::from(listener.limit)))),
        )
    }

    fn labelled(
        &mut self,
        units: &BTreeMap<String, UnitReport>,
        name: &str,
        help: &str,
        label: &'static str,
        of: fn(&UnitReport) -> &BTreeMap<String, u64>,
    ) -> Result<(), fmt::Error> {
        let all = units.iter().flat_map(|(unit, report)| {
            of(report).iter().map(move |(value, count)| {
                let mut labels = of_unit(unit);
                labels.push((label, value.clone()));
                (labels, ConstCounter::new(*count))
            })
        });
        self.family(name, help, MetricType::Counter, all)
    }

    fn cgroups(&mut self, units: &BTreeMap<String, UnitReport>) -> Result<(), fmt::Error> {
        let counters: [(&str, &str, CgroupFigure); 4] = [
            ("cpu_usage_seconds", "CPU time", |unit| {
                Some(seconds(unit.cpu_usage_us))
            }),
            (
                "cpu_throttled_seconds",
                "How long a unit had to stand still because its CPU quota was used up",
                |unit| unit.throttled_us.map(seconds),
            ),
            (
                "cpu_throttled_periods",
                "Periods in which a unit's CPU quota was used up",
                |unit| unit.throttled_periods.map(|count| count as f64),
            ),
            (
                "major_page_faults",
                "Page faults that read from a device",
                |unit| unit.major_page_faults.map(|count| count as f64),
            ),
        ];
        let gauges: [(&str, &str, CgroupFigure); 2] = [
            ("memory_usage_bytes", "Memory of a unit", |unit| {
                unit.memory_bytes.map(|bytes| bytes as f64)
            }),
            (
                "memory_limit_bytes",
                "A unit's own limit of memory",
                |unit| unit.memory_limit_bytes.map(|bytes| bytes as f64),
            ),
        ];
        let figures = |of: CgroupFigure| {
            units.iter().filter_map(move |(unit, report)| {
                Some((of_unit(unit), of(report.cgroup.as_ref()?)?))
            })
        };
        for (name, help, of) in counters {
            let all = figures(of).map(|(labels, value)| (labels, ConstCounter::new(value)));
            self.family(name, help, MetricType::Counter, all)?;
        }
        for (name, help, of) in gauges {
            let all = figures(of).map(|(labels, value)| (labels, ConstGauge::new(value)));
            self.family(name, help, MetricType::Gauge, all)?;
        }
        Ok(())
    }

    /// What the observer says of itself.
    fn of_itself(&mut self, told: &Told) -> Result<(), fmt::Error> {
        let mut losses = told.report.losses.clone();
        losses.insert("journal_lines".to_owned(), told.unwritten);
        self.family(
            "observer_losses",
            "What could not be kept: waits, beginnings, series, events, cgroups, and lines for the journal",
            MetricType::Counter,
            losses
                .iter()
                .map(|(kind, count)| (vec![("kind", kind.clone())], ConstCounter::new(*count))),
        )?;
        self.family(
            "observer_probe_on",
            "Whether a probe is on",
            MetricType::Gauge,
            told.states.iter().map(|state| {
                let labels = vec![("probe", state.probe.name().to_owned())];
                (labels, ConstGauge::new(u32::from(state.is_on)))
            }),
        )?;
        let programs = || {
            told.snapshot
                .programs
                .iter()
                .map(|program| (vec![("program", program.name.to_owned())], program))
        };
        self.family(
            "bpf_program_runs",
            "How often a program ran, counted while kernel.bpf_stats_enabled is 1",
            MetricType::Counter,
            programs().map(|(labels, program)| (labels, ConstCounter::new(program.count))),
        )?;
        self.family(
            "bpf_program_run_seconds",
            "How long a program ran in all, counted while kernel.bpf_stats_enabled is 1",
            MetricType::Counter,
            programs()
                .map(|(labels, program)| (labels, ConstCounter::new(program.time.as_secs_f64()))),
        )
    }

    /// One family; nothing where there is no series of it.
    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl Iterator<Item = (Labels, M)>,
    ) -> Result<(), fmt::Error> {
        let mut series = series.peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let name = format!("observastack_{name}");
        let mut family = self.0.encode_descriptor(&name, help, None, kind)?;
        for (labels, metric) in series {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn of_unit(unit: &str) -> Labels {
    vec![("unit", unit.to_owned())]
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
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
    use observastack_spec::kernel::{KernelReport, ListenerReport};
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
