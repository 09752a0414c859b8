//! What was counted, in the words of the API.

use std::collections::BTreeMap;

use observastack_abi::telemetry::{
    OTHER,
    block_io::operation,
    histogram::Histogram,
    off_cpu::{NO_CALL, UNINTERRUPTIBLE},
};
use observastack_loader::observer::Snapshot;
use observastack_spec::kernel::{
    BlockIoReport, KernelReport, OTHER_UNIT, OffCpuReport, SyscallReport, Times, UnitReport,
};

use crate::{cgroups::Cgroups, clock, listeners::Listeners, names};

/// Puts together what the programs, the cgroups' files and the list of sockets say.
pub(crate) fn report(
    snapshot: &Snapshot,
    cgroups: &mut Cgroups,
    listeners: &Listeners,
    devices: &mut names::Devices,
) -> KernelReport {
    let name = |index: u32| match snapshot.units.get(&index) {
        Some(name) => name.clone(),
        None => OTHER_UNIT.to_owned(),
    };
    let mut units: BTreeMap<String, UnitReport> = BTreeMap::new();
    let indices = snapshot.units.keys().copied().chain([OTHER]);
    for index in indices {
        let unit = name(index);
        let counters = snapshot.counters.get(&index).copied().unwrap_or_default();
        let times = |of: &BTreeMap<u32, Histogram>| of.get(&index).map(times).unwrap_or_default();
        let report = UnitReport {
            run_queue: times(&snapshot.run_queue),
            tcp_connect: times(&snapshot.tcp_connect),
            tcp_connect_failures: counters.connect_failures,
            tcp_rtt: times(&snapshot.tcp_rtt),
            tcp_retransmits: counters.retransmits,
            tcp_resets_sent: counters.resets_sent,
            tcp_resets_received: counters.resets_received,
            listeners: listeners.of(&unit),
            page_faults: counters.page_faults,
            reclaim: times(&snapshot.reclaim),
            execs: counters.execs,
            exits: counters.exits,
            exits_by_signal: counters.exits_by_signal,
            oom_kills: counters.oom_kills,
            cgroup: (index != OTHER).then(|| cgroups.read(&unit)).flatten(),
            ..UnitReport::default()
        };
        units.insert(unit, report);
    }
    let mut of = |index: u32, change: &mut dyn FnMut(&mut UnitReport)| {
        change(units.entry(name(index)).or_default());
    };
    for ((victim, by), preemptions) in &snapshot.preemptions {
        of(*victim, &mut |unit| {
            unit.preempted_by.insert(name(*by), preemptions.count);
        });
    }
    for ((unit, reason), count) in &snapshot.drops {
        of(*unit, &mut |unit| {
            unit.packet_drops.insert(reason.clone(), *count);
        });
    }
    for (series, histogram) in &snapshot.block_io {
        let told = BlockIoReport {
            device: devices.name(series.device),
            operation: operation::NAMES
                .get(series.operation as usize)
                .copied()
                .unwrap_or("other")
                .to_owned(),
            times: times(histogram),
        };
        of(series.unit, &mut |unit| unit.block_io.push(told.clone()));
    }
    for ((unit, number), histogram) in &snapshot.syscalls {
        let errors = snapshot.syscall_errors.iter();
        let told = SyscallReport {
            name: names::syscall(*number),
            times: times(histogram),
            errors: errors
                .filter(|((of, call, _), _)| of == unit && call == number)
                .map(|((_, _, errno), count)| (names::errno(*errno), *count))
                .collect(),
        };
        of(*unit, &mut |unit| unit.syscalls.push(told.clone()));
    }
    for (series, histogram) in &snapshot.off_cpu {
        let told = OffCpuReport {
            cause: match series.cause & NO_CALL {
                NO_CALL => "none".to_owned(),
                number => names::syscall(number),
            },
            uninterruptible: series.cause & UNINTERRUPTIBLE != 0,
            times: times(histogram),
        };
        of(series.unit, &mut |unit| unit.off_cpu.push(told.clone()));
    }
    KernelReport {
        at_unix_ms: clock::ms(clock::now()),
        units,
        losses: losses(snapshot),
    }
}

fn losses(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let losses = snapshot.losses;
    [
        ("run_queue", losses.run_queue),
        ("beginnings", losses.beginnings),
        ("series", losses.series),
        ("events", losses.events),
        ("traced", losses.traced),
        ("cgroups", snapshot.lost_cgroups),
    ]
    .map(|(kind, count)| (kind.to_owned(), count))
    .into()
}

fn times(histogram: &Histogram) -> Times {
    Times {
        buckets: histogram.buckets.to_vec(),
        sum_ns: histogram.sum_ns,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use observastack_abi::telemetry::{block_io, off_cpu, run_queue::Preemptions};

    use super::*;

    #[test]
    fn everything_is_told_of_its_own_unit() {
        let mut histogram = Histogram::default();
        histogram.add(5000);
        let series = block_io::Series {
            unit: 0,
            device: 250 << 20 | 9,
            operation: operation::FLUSH,
        };
        let snapshot = Snapshot {
            units: [(0, "a.service".to_owned()), (1, "b.service".to_owned())].into(),
            run_queue: [(1, histogram)].into(),
            preemptions: [(
                (0, 1),
                Preemptions {
                    count: 3,
                    ran_ns: 9,
                },
            )]
            .into(),
            drops: [((OTHER, "no_socket".to_owned()), 4)].into(),
            block_io: [(series, histogram)].into(),
            syscalls: [((1, 60_001), histogram)].into(),
            off_cpu: [
                (
                    off_cpu::Series {
                        unit: 0,
                        cause: NO_CALL | UNINTERRUPTIBLE,
                    },
                    histogram,
                ),
                (
                    off_cpu::Series {
                        unit: 1,
                        cause: 60_003,
                    },
                    histogram,
                ),
            ]
            .into(),
            syscall_errors: [((1, 60_001, 2), 5), ((1, 60_002, 2), 6)].into(),
            lost_cgroups: 7,
            ..Snapshot::default()
        };
        let mut cgroups = Cgroups::new(Path::new("/nonexistent"), &[]);
        let report = report(
            &snapshot,
            &mut cgroups,
            &Listeners::default(),
            &mut names::Devices::default(),
        );
        let (a, b) = (&report.units["a.service"], &report.units["b.service"]);
        assert_eq!((a.run_queue.count(), b.run_queue.count()), (0, 1));
        assert_eq!(a.preempted_by, [("b.service".to_owned(), 3)].into());
        assert_eq!(a.block_io[0].operation, "flush");
        assert_eq!(a.block_io[0].device, "250:9");
        assert_eq!(report.units[OTHER_UNIT].packet_drops["no_socket"], 4);
        assert_eq!(b.syscalls[0].errors, [("ENOENT".to_owned(), 5)].into());
        assert_eq!(
            (a.off_cpu[0].cause.as_str(), a.off_cpu[0].uninterruptible),
            ("none", true)
        );
        assert_eq!(
            (b.off_cpu[0].cause.as_str(), b.off_cpu[0].uninterruptible),
            ("syscall_60003", false)
        );
        assert_eq!(report.losses["cgroups"], 7);
    }
}
