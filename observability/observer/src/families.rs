//! What was counted, as families of series: what every way out tells.

use std::collections::BTreeMap;

use observastack_spec::kernel::{CgroupReport, Times, UnitReport};

use crate::engine::Told;

/// A series' labels, in the order in which they are told.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    Gauge,
    Histogram,
}

/// A series' value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Count(u64),
    /// A counter of something that is no whole number.
    Sum(f64),
    Gauge(f64),
    Times(Times),
}

/// Series of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// `observastack_` and the unit of measurement included, `_total` not.
    pub(crate) name: String,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) series: Vec<(Labels, Value)>,
}

/// Every family that has a series.
pub(crate) fn families(told: &Told) -> Vec<Family> {
    let mut families = Families(Vec::new());
    families.all(told);
    families.0
}

struct Families(Vec<Family>);

/// A unit's counter.
type Count = fn(&UnitReport) -> u64;
/// A unit's durations.
type TimesOf = fn(&UnitReport) -> &Times;
/// A figure of a unit's cgroup.
type CgroupFigure = fn(&CgroupReport) -> Option<f64>;

impl Families {
    fn all(&mut self, told: &Told) {
        let units = &told.report.units;
        self.times(units);
        self.counts(units);
        self.by_more_than_the_unit(units);
        self.cgroups(units);
        self.of_itself(told);
    }

    fn times(&mut self, units: &BTreeMap<String, UnitReport>) {
        let families: [(&str, &'static str, TimesOf); 4] = [
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
                .map(|(unit, report)| (of_unit(unit), Value::Times(of(report).clone())));
            self.family(&format!("{name}_seconds"), help, Kind::Histogram, all);
        }
        let block_io = units.iter().flat_map(|(unit, report)| {
            report.block_io.iter().map(move |io| {
                let mut labels = of_unit(unit);
                labels.push(("device", io.device.clone()));
                labels.push(("operation", io.operation.clone()));
                (labels, Value::Times(io.times.clone()))
            })
        });
        self.family(
            "block_io_latency_seconds",
            "From when block I/O was submitted to its end",
            Kind::Histogram,
            block_io,
        );
        let sleeps = units.iter().flat_map(|(unit, report)| {
            report.off_cpu.iter().map(move |sleep| {
                let mut labels = of_unit(unit);
                labels.push(("cause", sleep.cause.clone()));
                labels.push(("uninterruptible", sleep.uninterruptible.to_string()));
                (labels, Value::Times(sleep.times.clone()))
            })
        });
        self.family(
            "off_cpu_seconds",
            "How long tasks slept, by the system call that they were in, of units that were asked for",
            Kind::Histogram,
            sleeps,
        );
        let syscalls = units.iter().flat_map(|(unit, report)| {
            report.syscalls.iter().map(move |call| {
                let mut labels = of_unit(unit);
                labels.push(("syscall", call.name.clone()));
                (labels, Value::Times(call.times.clone()))
            })
        });
        self.family(
            "syscall_latency_seconds",
            "How long system calls took, of units that were asked for",
            Kind::Histogram,
            syscalls,
        );
    }

    fn counts(&mut self, units: &BTreeMap<String, UnitReport>) {
        let families: [(&str, &'static str, Count); 6] = [
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
                .map(|(unit, report)| (of_unit(unit), Value::Count(of(report))));
            self.family(name, help, Kind::Counter, all);
        }
    }

    fn by_more_than_the_unit(&mut self, units: &BTreeMap<String, UnitReport>) {
        let exits = units
            .iter()
            .map(|(unit, report)| (of_unit(unit), Value::Count(report.exits)));
        self.family(
            "process_exits",
            "Processes that have ended",
            Kind::Counter,
            exits,
        );
        let resets = units.iter().flat_map(|(unit, report)| {
            [
                ("sent", report.tcp_resets_sent),
                ("received", report.tcp_resets_received),
            ]
            .map(|(direction, count)| {
                let mut labels = of_unit(unit);
                labels.push(("direction", direction.to_owned()));
                (labels, Value::Count(count))
            })
        });
        self.family("tcp_resets", "TCP resets", Kind::Counter, resets);
        self.labelled(
            units,
            "preemptions",
            "How often a unit's task had to make room although it could have gone on, by the unit whose task came",
            "by",
            |unit| &unit.preempted_by,
        );
        self.labelled(
            units,
            "packet_drops",
            "Packets that the kernel threw away, by its own reasons (enum skb_drop_reason)",
            "reason",
            |unit| &unit.packet_drops,
        );
        let errors = units.iter().flat_map(|(unit, report)| {
            report.syscalls.iter().flat_map(move |call| {
                call.errors.iter().map(move |(errno, count)| {
                    let mut labels = of_unit(unit);
                    labels.push(("syscall", call.name.clone()));
                    labels.push(("errno", errno.clone()));
                    (labels, Value::Count(*count))
                })
            })
        });
        self.family(
            "syscall_errors",
            "System calls that failed, of units that were asked for",
            Kind::Counter,
            errors,
        );
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
            Kind::Counter,
            listeners().map(|(labels, listener)| (labels, Value::Count(listener.drops))),
        );
        self.family(
            "tcp_accept_queue_connections",
            "Connections that wait to be accepted",
            Kind::Gauge,
            listeners()
                .map(|(labels, listener)| (labels, Value::Gauge(f64::from(listener.waiting)))),
        );
        self.family(
            "tcp_accept_queue_limit_connections",
            "How many connections may wait to be accepted",
            Kind::Gauge,
            listeners().map(|(labels, listener)| (labels, Value::Gauge(f64::from(listener.limit)))),
        );
    }

    fn labelled(
        &mut self,
        units: &BTreeMap<String, UnitReport>,
        name: &str,
        help: &'static str,
        label: &'static str,
        of: fn(&UnitReport) -> &BTreeMap<String, u64>,
    ) {
        let all = units.iter().flat_map(|(unit, report)| {
            of(report).iter().map(move |(value, count)| {
                let mut labels = of_unit(unit);
                labels.push((label, value.clone()));
                (labels, Value::Count(*count))
            })
        });
        self.family(name, help, Kind::Counter, all);
    }

    fn cgroups(&mut self, units: &BTreeMap<String, UnitReport>) {
        let counters: [(&str, &'static str, CgroupFigure); 4] = [
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
        let gauges: [(&str, &'static str, CgroupFigure); 2] = [
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
            let all = figures(of).map(|(labels, value)| (labels, Value::Sum(value)));
            self.family(name, help, Kind::Counter, all);
        }
        for (name, help, of) in gauges {
            let all = figures(of).map(|(labels, value)| (labels, Value::Gauge(value)));
            self.family(name, help, Kind::Gauge, all);
        }
    }

    /// What the observer says of itself.
    fn of_itself(&mut self, told: &Told) {
        let mut losses = told.report.losses.clone();
        losses.insert("journal_lines".to_owned(), told.unwritten);
        self.family(
            "observer_losses",
            "What could not be kept: waits, beginnings, series, events, cgroups, and lines for the journal",
            Kind::Counter,
            losses
                .iter()
                .map(|(kind, count)| (vec![("kind", kind.clone())], Value::Count(*count))),
        );
        self.family(
            "observer_probe_on",
            "Whether a probe is on",
            Kind::Gauge,
            told.states.iter().map(|state| {
                let labels = vec![("probe", state.probe.name().to_owned())];
                (labels, Value::Gauge(f64::from(u8::from(state.is_on))))
            }),
        );
        let programs = || {
            told.snapshot
                .programs
                .iter()
                .map(|program| (vec![("program", program.name.to_owned())], program))
        };
        self.family(
            "bpf_program_runs",
            "How often a program ran, counted while kernel.bpf_stats_enabled is 1",
            Kind::Counter,
            programs().map(|(labels, program)| (labels, Value::Count(program.count))),
        );
        self.family(
            "bpf_program_run_seconds",
            "How long a program ran in all, counted while kernel.bpf_stats_enabled is 1",
            Kind::Counter,
            programs().map(|(labels, program)| (labels, Value::Sum(program.time.as_secs_f64()))),
        );
    }

    /// One family; nothing where there is no series of it.
    fn family(
        &mut self,
        name: &str,
        help: &'static str,
        kind: Kind,
        series: impl Iterator<Item = (Labels, Value)>,
    ) {
        let series: Vec<_> = series.collect();
        if !series.is_empty() {
            self.0.push(Family {
                name: format!("observastack_{name}"),
                help,
                kind,
                series,
            });
        }
    }
}

fn of_unit(unit: &str) -> Labels {
    vec![("unit", unit.to_owned())]
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
