//! Everything that the probes have counted, read from the kernel's maps and summed up over the CPUs.

use std::{collections::BTreeMap, time::Duration};

use aya::{
    Ebpf, Pod,
    maps::{Array, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    programs::RawTracePoint,
};
use observastack_abi::telemetry::{
    OTHER, block_io,
    counters::{Losses, UnitCounters},
    histogram::Histogram,
    off_cpu,
    run_queue::{Preemptions, pair},
    syscalls,
};

use super::{Probe, units::ObservedUnits};

/// What was counted since the probes were loaded, by unit index; [`OTHER`] is everything that is no unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Units by index; without [`OTHER`].
    pub units: BTreeMap<u32, String>,
    /// What is only counted.
    pub counters: BTreeMap<u32, UnitCounters>,
    /// Waits for a CPU.
    pub run_queue: BTreeMap<u32, Histogram>,
    /// TCP connections being made.
    pub tcp_connect: BTreeMap<u32, Histogram>,
    /// Smoothed round-trip times.
    pub tcp_rtt: BTreeMap<u32, Histogram>,
    /// Reclaiming memory.
    pub reclaim: BTreeMap<u32, Histogram>,
    /// By the unit that had to make room, and the one that came; only pairs that there were.
    pub preemptions: BTreeMap<(u32, u32), Preemptions>,
    /// Packets thrown away, by unit and the reason's name.
    pub drops: BTreeMap<(u32, String), u64>,
    /// Block I/O.
    pub block_io: BTreeMap<block_io::Series, Histogram>,
    /// System calls, by unit and number.
    pub syscalls: BTreeMap<(u32, u32), Histogram>,
    /// System calls that failed, by unit, number and errno.
    pub syscall_errors: BTreeMap<(u32, u32, u32), u64>,
    /// How long tasks slept, by unit and cause.
    pub off_cpu: BTreeMap<off_cpu::Series, Histogram>,
    /// What could not be kept.
    pub losses: Losses,
    /// Cgroups that did not fit.
    pub lost_cgroups: u64,
    /// What the kernel says of the programs.
    pub programs: Vec<ProgramRuns>,
}

/// How often a program ran and for how long: counted by the kernel where `kernel.bpf_stats_enabled` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramRuns {
    /// The program.
    pub name: &'static str,
    /// The probe that it belongs to.
    pub probe: Probe,
    /// How often.
    pub count: u64,
    /// For how long, in all.
    pub time: Duration,
    /// How many instructions the kernel walked through to verify it, where it tells.
    pub verified_instructions: Option<u32>,
}

pub(super) fn take(
    ebpf: &Ebpf,
    units: &ObservedUnits,
    reasons: &BTreeMap<u32, String>,
) -> Result<Snapshot, MapError> {
    let known = units.known();
    let indices: Vec<u32> = known.keys().copied().chain([OTHER]).collect();
    let histograms = |map| by_unit(ebpf, map, &indices, Histogram::merge);
    let mut losses = Losses::default();
    for cpu in array::<Losses>(ebpf, "LOSSES")?.get(&0, 0)?.iter() {
        losses.merge(cpu);
    }
    let mut drops = BTreeMap::new();
    for (key, count) in sums::<u64, u64>(ebpf, "DROPS", count)? {
        let (unit, reason): (u32, u32) = ((key >> 32) as u32, key as u32);
        *drops
            .entry((unit, reason_name(reasons, reason)))
            .or_default() += count;
    }
    let calls = sums(ebpf, "SYSCALLS", Histogram::merge)?;
    let errors = sums(ebpf, "SYSCALL_ERRORS", count)?;
    let by_call = |series: syscalls::Series| (series.unit, series.call);
    let by_errno = |series: syscalls::Series| {
        let (errno, number) = (series.call >> 16, series.call & 0xffff);
        (series.unit, number, errno)
    };
    Ok(Snapshot {
        units: known,
        counters: by_unit(ebpf, "UNIT_COUNTERS", &indices, UnitCounters::merge)?,
        run_queue: histograms("RUN_QUEUE")?,
        tcp_connect: histograms("TCP_CONNECT")?,
        tcp_rtt: histograms("TCP_RTT")?,
        reclaim: histograms("RECLAIM")?,
        preemptions: preemptions(ebpf, &indices)?,
        drops,
        block_io: sums(ebpf, "BLOCK_IO", Histogram::merge)?,
        off_cpu: sums(ebpf, "OFF_CPU", Histogram::merge)?,
        syscalls: map_keys(calls, by_call),
        syscall_errors: map_keys(errors, by_errno),
        losses,
        lost_cgroups: units.lost(),
        programs: programs(ebpf),
    })
}

/// A reason's name; reasons of a subsystem have a number in their upper half and no name in the kernel's own list.
fn reason_name(reasons: &BTreeMap<u32, String>, reason: u32) -> String {
    match reasons.get(&reason) {
        Some(name) => name.clone(),
        None if reason >> 16 != 0 => format!("subsystem_{}_{}", reason >> 16, reason & 0xffff),
        None => format!("reason_{reason}"),
    }
}

fn preemptions(
    ebpf: &Ebpf,
    indices: &[u32],
) -> Result<BTreeMap<(u32, u32), Preemptions>, MapError> {
    let missing = || MapError::InvalidName {
        name: "PREEMPTIONS".into(),
    };
    let map = Array::<_, Preemptions>::try_from(ebpf.map("PREEMPTIONS").ok_or_else(missing)?)?;
    let mut found = BTreeMap::new();
    for victim in indices.iter().filter(|victim| **victim != OTHER) {
        for by in indices {
            let sum = map.get(&pair(*victim, *by), 0)?;
            if sum.count > 0 {
                found.insert((*victim, *by), sum);
            }
        }
    }
    Ok(found)
}

fn by_unit<V: Pod + Default>(
    ebpf: &Ebpf,
    map: &'static str,
    indices: &[u32],
    merge: fn(&mut V, &V),
) -> Result<BTreeMap<u32, V>, MapError> {
    let map = array(ebpf, map)?;
    let read = |index: &u32| Ok((*index, sum(&map.get(index, 0)?, merge)));
    indices.iter().map(read).collect()
}

fn sums<K: Pod + Ord, V: Pod + Default>(
    ebpf: &Ebpf,
    map: &'static str,
    merge: fn(&mut V, &V),
) -> Result<BTreeMap<K, V>, MapError> {
    let missing = || MapError::InvalidName { name: map.into() };
    let map = PerCpuHashMap::<_, K, V>::try_from(ebpf.map(map).ok_or_else(missing)?)?;
    // Entries are removed by this thread only, so none is missed by others that are added meanwhile.
    map.iter()
        .map(|entry| entry.map(|(key, values)| (key, sum(&values, merge))))
        .collect()
}

fn sum<V: Pod + Default>(values: &PerCpuValues<V>, merge: fn(&mut V, &V)) -> V {
    let mut sum = V::default();
    values.iter().for_each(|value| merge(&mut sum, value));
    sum
}

fn count(sum: &mut u64, more: &u64) {
    *sum = sum.wrapping_add(*more);
}

fn map_keys<K, L: Ord, V>(map: BTreeMap<K, V>, key: impl Fn(K) -> L) -> BTreeMap<L, V> {
    map.into_iter()
        .map(|(old, value)| (key(old), value))
        .collect()
}

fn array<'a, V: Pod>(
    ebpf: &'a Ebpf,
    name: &'static str,
) -> Result<PerCpuArray<&'a aya::maps::MapData, V>, MapError> {
    let missing = || MapError::InvalidName { name: name.into() };
    PerCpuArray::try_from(ebpf.map(name).ok_or_else(missing)?)
}

fn programs(ebpf: &Ebpf) -> Vec<ProgramRuns> {
    let runs = |probe: Probe, name: &'static str| {
        let program: &RawTracePoint = ebpf.program(name)?.try_into().ok()?;
        let info = program.info().ok()?;
        Some(ProgramRuns {
            name,
            probe,
            count: info.run_count(),
            time: info.run_time(),
            verified_instructions: info.verified_instruction_count(),
        })
    };
    Probe::ALL
        .into_iter()
        .flat_map(|probe| probe.programs().iter().map(move |(name, _)| (probe, *name)))
        .filter_map(|(probe, name)| runs(probe, name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_without_a_name_is_told_by_its_numbers() {
        let reasons = BTreeMap::from([(3, "no_socket".to_owned())]);
        assert_eq!(reason_name(&reasons, 3), "no_socket");
        assert_eq!(reason_name(&reasons, 200), "reason_200");
        assert_eq!(reason_name(&reasons, 1 << 16 | 5), "subsystem_1_5");
    }
}
