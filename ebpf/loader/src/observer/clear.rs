//! Takes everything that was counted of one unit out of the kernel's maps.

use aya::{
    Ebpf, Pod,
    maps::{Array, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use observastack_abi::telemetry::{
    UNITS, block_io,
    counters::UnitCounters,
    histogram::Histogram,
    off_cpu,
    run_queue::{Preemptions, pair},
    syscalls,
};

/// Maps with a histogram for each unit.
const HISTOGRAMS: [&str; 4] = ["RUN_QUEUE", "TCP_CONNECT", "TCP_RTT", "RECLAIM"];

/// The unit has no process any more; what its sockets still do counts for nobody.
pub(super) fn unit(ebpf: &mut Ebpf, index: u32) -> Result<(), MapError> {
    empty::<UnitCounters>(ebpf, "UNIT_COUNTERS", index)?;
    for map in HISTOGRAMS {
        empty::<Histogram>(ebpf, map, index)?;
    }
    let mut preemptions = Array::<_, Preemptions>::try_from(map(ebpf, "PREEMPTIONS")?)?;
    for other in 0..UNITS {
        preemptions.set(pair(index, other), Preemptions::default(), 0)?;
        preemptions.set(pair(other, index), Preemptions::default(), 0)?;
    }
    remove::<u64, u64>(ebpf, "DROPS", |key| (key >> 32) as u32 == index)?;
    remove::<block_io::Series, Histogram>(ebpf, "BLOCK_IO", |key| key.unit == index)?;
    remove::<syscalls::Series, Histogram>(ebpf, "SYSCALLS", |key| key.unit == index)?;
    remove::<off_cpu::Series, Histogram>(ebpf, "OFF_CPU", |key| key.unit == index)?;
    remove::<syscalls::Series, u64>(ebpf, "SYSCALL_ERRORS", |key| key.unit == index)?;
    Ok(())
}

fn map<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut aya::maps::Map, MapError> {
    ebpf.map_mut(name)
        .ok_or(MapError::InvalidName { name: name.into() })
}

fn empty<V: Pod + Default>(
    ebpf: &mut Ebpf,
    name: &'static str,
    index: u32,
) -> Result<(), MapError> {
    let cpus = nr_cpus().map_err(|(_, error)| error)?;
    let values = PerCpuValues::try_from(vec![V::default(); cpus])?;
    PerCpuArray::<_, V>::try_from(map(ebpf, name)?)?.set(index, values, 0)
}

fn remove<K: Pod, V: Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
    is_its: impl Fn(&K) -> bool,
) -> Result<(), MapError> {
    let mut map = PerCpuHashMap::<_, K, V>::try_from(map(ebpf, name)?)?;
    let keys: Vec<K> = map.keys().filter_map(Result::ok).filter(is_its).collect();
    for key in keys {
        map.remove(&key)?;
    }
    Ok(())
}
