//! What is told of a unit between two readings.

use observastack_spec::kernel::{KernelReport, Times, UnitReport};

use crate::{collector::short, output};

/// What a unit did between two readings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Delta {
    /// The unit as people name it.
    pub(crate) name: String,
    /// How long it was, in seconds.
    pub(crate) seconds: f64,
    before: UnitReport,
    now: UnitReport,
}

/// Every unit of the later reading.
pub(crate) fn deltas(before: &KernelReport, now: &KernelReport) -> Vec<Delta> {
    let ms = now.at_unix_ms.saturating_sub(before.at_unix_ms).max(1);
    let units = now.units.iter();
    units
        .map(|(unit, report)| Delta {
            name: short(unit).to_owned(),
            seconds: ms as f64 / 1e3,
            // A unit that is new began with nothing.
            before: before.units.get(unit).cloned().unwrap_or_default(),
            now: report.clone(),
        })
        .collect()
}

/// What can be told and sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Cpu,
    RunQueue,
    Preempted,
    Throttled,
    Connect,
    ConnectFailures,
    RoundTrip,
    Retransmits,
    Resets,
    Drops,
    AcceptQueue,
    BlockIo,
    PageFaults,
    Memory,
    Exits,
}

impl Column {
    /// From left to right.
    pub(crate) const ALL: [Self; 15] = [
        Self::Cpu,
        Self::RunQueue,
        Self::Preempted,
        Self::Throttled,
        Self::Connect,
        Self::ConnectFailures,
        Self::RoundTrip,
        Self::Retransmits,
        Self::Resets,
        Self::Drops,
        Self::AcceptQueue,
        Self::BlockIo,
        Self::PageFaults,
        Self::Memory,
        Self::Exits,
    ];

    /// Its title.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU%",
            Self::RunQueue => "RUNQ P99",
            Self::Preempted => "PREEMPT/s",
            Self::Throttled => "THROT%",
            Self::Connect => "CONN P99",
            Self::ConnectFailures => "FAIL/s",
            Self::RoundTrip => "RTT P50",
            Self::Retransmits => "RETR/s",
            Self::Resets => "RST/s",
            Self::Drops => "DROP/s",
            Self::AcceptQueue => "ACCEPTQ",
            Self::BlockIo => "BLOCK P99",
            Self::PageFaults => "FAULT/s",
            Self::Memory => "MEMORY",
            Self::Exits => "EXIT/s",
        }
    }

    /// Its name for programs.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_percent",
            Self::RunQueue => "run_queue_p99_ns",
            Self::Preempted => "preemptions_per_second",
            Self::Throttled => "cpu_throttled_percent",
            Self::Connect => "tcp_connect_p99_ns",
            Self::ConnectFailures => "tcp_connect_failures_per_second",
            Self::RoundTrip => "tcp_rtt_p50_ns",
            Self::Retransmits => "tcp_retransmits_per_second",
            Self::Resets => "tcp_resets_per_second",
            Self::Drops => "packet_drops_per_second",
            Self::AcceptQueue => "tcp_accept_queue_connections",
            Self::BlockIo => "block_io_p99_ns",
            Self::PageFaults => "page_faults_per_second",
            Self::Memory => "memory_bytes",
            Self::Exits => "process_exits_per_second",
        }
    }

    /// Its value; `None` where nothing happened that has one, or this machine cannot tell.
    pub(crate) fn value(self, delta: &Delta) -> Option<f64> {
        let (before, now) = (&delta.before, &delta.now);
        let rate = |of: fn(&UnitReport) -> u64| {
            Some(of(now).saturating_sub(of(before)) as f64 / delta.seconds)
        };
        let cgroup = |of: fn(&observastack_spec::kernel::CgroupReport) -> Option<u64>| {
            let now = of(now.cgroup.as_ref()?)?;
            let before = before.cgroup.as_ref().and_then(of).unwrap_or(0);
            Some(now.saturating_sub(before))
        };
        let percent = |us: u64| us as f64 / 1e4 / delta.seconds;
        match self {
            Self::Cpu => cgroup(|cgroup| Some(cgroup.cpu_usage_us)).map(percent),
            Self::Throttled => cgroup(|cgroup| cgroup.throttled_us).map(percent),
            Self::RunQueue => quantile(&delta.times(Histogram::RunQueue), 0.99),
            Self::Connect => quantile(&delta.times(Histogram::Connect), 0.99),
            Self::RoundTrip => quantile(&delta.times(Histogram::RoundTrip), 0.5),
            Self::BlockIo => quantile(&delta.times(Histogram::BlockIo), 0.99),
            Self::Preempted => rate(|unit| unit.preempted_by.values().sum()),
            Self::ConnectFailures => rate(|unit| unit.tcp_connect_failures),
            Self::Retransmits => rate(|unit| unit.tcp_retransmits),
            Self::Resets => rate(|unit| unit.tcp_resets_sent + unit.tcp_resets_received),
            Self::Drops => rate(|unit| unit.packet_drops.values().sum()),
            Self::AcceptQueue => (!now.listeners.is_empty()).then(|| {
                let waiting = now.listeners.iter().map(|listener| listener.waiting);
                f64::from(waiting.sum::<u32>())
            }),
            Self::PageFaults => rate(|unit| unit.page_faults),
            Self::Memory => Some(now.cgroup.as_ref()?.memory_bytes? as f64),
            Self::Exits => rate(|unit| unit.exits),
        }
    }

    /// The same for people.
    pub(crate) fn text(self, delta: &Delta) -> String {
        let Some(value) = self.value(delta) else {
            return "-".to_owned();
        };
        match self {
            Self::Cpu | Self::Throttled => format!("{value:.1}"),
            Self::RunQueue | Self::Connect | Self::RoundTrip | Self::BlockIo => {
                output::nanoseconds(value as u64)
            }
            Self::Memory => format!("{:.0} MiB", value / 1_048_576.0),
            Self::AcceptQueue => format!("{value:.0}"),
            _ if value == 0.0 => "0".to_owned(),
            _ if value < 10.0 => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        }
    }
}

fn quantile(times: &Times, q: f64) -> Option<f64> {
    times.quantile_ns(q).map(|ns| ns as f64)
}

/// Which durations the histogram shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Histogram {
    RunQueue,
    Connect,
    RoundTrip,
    BlockIo,
    Reclaim,
}

impl Histogram {
    /// In the order of Tab.
    pub(crate) const ALL: [Self; 5] = [
        Self::RunQueue,
        Self::Connect,
        Self::RoundTrip,
        Self::BlockIo,
        Self::Reclaim,
    ];

    /// What it shows.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::RunQueue => "waits for a CPU",
            Self::Connect => "TCP connections being made",
            Self::RoundTrip => "TCP round trips",
            Self::BlockIo => "block I/O",
            Self::Reclaim => "memory being reclaimed",
        }
    }
}

impl Delta {
    /// The durations that came between the readings.
    pub(crate) fn times(&self, histogram: Histogram) -> Times {
        let of = |unit: &UnitReport| match histogram {
            Histogram::RunQueue => unit.run_queue.clone(),
            Histogram::Connect => unit.tcp_connect.clone(),
            Histogram::RoundTrip => unit.tcp_rtt.clone(),
            Histogram::Reclaim => unit.reclaim.clone(),
            Histogram::BlockIo => {
                let all = unit.block_io.iter().map(|io| &io.times);
                all.fold(Times::default(), |sum, times| plus(&sum, times))
            }
        };
        of(&self.now).since(&of(&self.before))
    }

    /// What is worth a line of its own below the table: who preempted, why packets were dropped, which device.
    pub(crate) fn details(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let since = |now: &std::collections::BTreeMap<String, u64>,
                     before: &std::collections::BTreeMap<String, u64>| {
            let mut grown: Vec<(u64, String)> = now
                .iter()
                .map(|(name, count)| {
                    let before = before.get(name).copied().unwrap_or(0);
                    (count.saturating_sub(before), short(name).to_owned())
                })
                .filter(|(count, _)| *count > 0)
                .collect();
            grown.sort_by(|left, right| right.cmp(left));
            let words: Vec<_> = grown
                .iter()
                .map(|(count, name)| format!("{name} {count}"))
                .collect();
            words.join(", ")
        };
        let preempted = since(&self.now.preempted_by, &self.before.preempted_by);
        if !preempted.is_empty() {
            lines.push(format!("preempted by  {preempted}"));
        }
        let drops = since(&self.now.packet_drops, &self.before.packet_drops);
        if !drops.is_empty() {
            lines.push(format!("drops         {drops}"));
        }
        for io in &self.now.block_io {
            let mut earlier = self.before.block_io.iter();
            let before =
                earlier.find(|then| then.device == io.device && then.operation == io.operation);
            let before = before.map(|io| io.times.clone()).unwrap_or_default();
            let times = io.times.since(&before);
            if let Some(p99) = times.quantile_ns(0.99) {
                lines.push(format!(
                    "{:<13} {} {}, p99 < {}",
                    io.device,
                    times.count(),
                    io.operation,
                    output::nanoseconds(p99)
                ));
            }
        }
        for listener in &self.now.listeners {
            lines.push(format!(
                "port {:<8} {} of {} wait to be accepted, {} thrown away",
                listener.port, listener.waiting, listener.limit, listener.drops
            ));
        }
        lines
    }
}

fn plus(left: &Times, right: &Times) -> Times {
    let length = left.buckets.len().max(right.buckets.len());
    let at = |times: &Times, index: usize| times.buckets.get(index).copied().unwrap_or(0);
    Times {
        buckets: (0..length)
            .map(|index| at(left, index) + at(right, index))
            .collect(),
        sum_ns: left.sum_ns + right.sum_ns,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use observastack_spec::kernel::{BlockIoReport, CgroupReport, ListenerReport};

    use super::*;

    /// Two readings, two seconds apart: a unit that works, and everything else.
    pub(crate) fn readings() -> (KernelReport, KernelReport) {
        let times = |buckets: &[u64]| Times {
            buckets: buckets.to_vec(),
            sum_ns: 0,
        };
        let io = |count| BlockIoReport {
            device: "vda".to_owned(),
            operation: "flush".to_owned(),
            times: times(&[0, 0, 0, 0, count]),
        };
        let unit = |n: u64| UnitReport {
            run_queue: times(&[7, n]),
            preempted_by: [("observastack-gateway.service".to_owned(), n)].into(),
            tcp_retransmits: 10 * n,
            packet_drops: [("no_socket".to_owned(), n)].into(),
            block_io: vec![io(n)],
            listeners: vec![ListenerReport {
                port: 8000,
                waiting: 3,
                limit: 128,
                drops: 1,
            }],
            cgroup: Some(CgroupReport {
                cpu_usage_us: n * 100_000,
                memory_bytes: Some(64 << 20),
                ..CgroupReport::default()
            }),
            ..UnitReport::default()
        };
        let report = |at_unix_ms, n| KernelReport {
            at_unix_ms,
            units: [
                ("observastack-api@1.service".to_owned(), unit(n)),
                ("other".to_owned(), UnitReport::default()),
            ]
            .into(),
            ..KernelReport::default()
        };
        (report(1000, 5), report(3000, 15))
    }

    #[test]
    fn columns_tell_what_came_between_the_readings() {
        let (before, now) = readings();
        let deltas = deltas(&before, &now);
        let [api, other] = deltas.as_slice() else {
            panic!("{deltas:?}");
        };
        assert_eq!(api.name, "api@1");
        for (column, text) in [
            (Column::Cpu, "50.0"),
            (Column::RunQueue, "2.0 µs"),
            (Column::Preempted, "5.0"),
            (Column::Throttled, "-"),
            (Column::Retransmits, "50"),
            (Column::Drops, "5.0"),
            (Column::Connect, "-"),
            (Column::AcceptQueue, "3"),
            (Column::BlockIo, "16.4 µs"),
            (Column::Memory, "64 MiB"),
            (Column::Exits, "0"),
        ] {
            assert_eq!(column.text(api), text, "{column:?}");
        }
        assert_eq!(Column::Cpu.text(other), "-");
        assert_eq!(
            api.details(),
            [
                "preempted by  gateway 10",
                "drops         no_socket 10",
                "vda           10 flush, p99 < 16.4 µs",
                "port 8000     3 of 128 wait to be accepted, 1 thrown away",
            ]
        );
    }
}
