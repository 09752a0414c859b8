//! What the probes share: whose an event is, and where it is counted.

pub(crate) mod block_io;
pub(crate) mod empty;
pub(crate) mod off_cpu;
pub(crate) mod packet_drop;
pub(crate) mod page_fault;
pub(crate) mod process;
pub(crate) mod profile;
pub(crate) mod reclaim;
pub(crate) mod run_queue;
pub(crate) mod syscalls;
pub(crate) mod tcp_connect;
pub(crate) mod tcp_reset;
pub(crate) mod tcp_retransmit;
pub(crate) mod tcp_rtt;
pub(crate) mod trace;

use aya_ebpf::{
    Global,
    helpers::{bpf_ktime_get_ns, generated::bpf_get_current_cgroup_id},
    macros::map,
    maps::{PerCpuArray, PerCpuHashMap, RingBuf},
};
use observastack_abi::telemetry::{
    OTHER, UNITS,
    counters::{Losses, UnitCounters},
    event::Event,
    histogram::{EMPTY, Histogram},
    offsets::{ProbeOffsets, UNKNOWN},
};

use crate::units::{self, read};

/// Where this kernel keeps what the probes read; set by the loader.
#[unsafe(no_mangle)]
static PROBE_OFFSETS: Global<ProbeOffsets> = Global::new(UNKNOWN);

/// What is only counted, by unit.
#[map]
static UNIT_COUNTERS: PerCpuArray<UnitCounters> = PerCpuArray::with_max_entries(UNITS, 0);
/// What could not be kept.
#[map]
static LOSSES: PerCpuArray<Losses> = PerCpuArray::with_max_entries(1, 0);
/// Rare things, one by one.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(256 << 10, 0);

/// `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV` (`include/net/tcp_states.h`): sockets in these states are small ones, without an owner.
const TIME_WAIT: u8 = 6;
const NEW_SYN_RECV: u8 = 12;

/// Entries are made when they are needed (`BPF_F_NO_PREALLOC`): most series that could be never are.
const ON_DEMAND: u32 = 1;

#[inline(always)]
fn offsets() -> ProbeOffsets {
    PROBE_OFFSETS.load()
}

#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: the helper takes no arguments and has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}

/// The unit of the task that runs.
#[inline(always)]
fn unit_of_current() -> u32 {
    // SAFETY: the helper takes no arguments and has no preconditions.
    units::index_of(unsafe { bpf_get_current_cgroup_id() }).unwrap_or(OTHER)
}

/// The unit of a cgroup.
#[inline(always)]
fn unit_of_cgroup(cgroup: *const u8) -> u32 {
    units::id_of(cgroup)
        .and_then(units::index_of)
        .unwrap_or(OTHER)
}

/// The unit whose process has made a socket; [`OTHER`] for none and for what stands for a socket that is not there yet or any more.
#[inline(always)]
fn unit_of_socket(socket: *const u8) -> u32 {
    if socket.is_null() {
        return OTHER;
    }
    let offsets = offsets();
    match read::<u8>(socket, offsets.sock_state) {
        None | Some(TIME_WAIT | NEW_SYN_RECV) => OTHER,
        Some(_) => match read::<*const u8>(socket, offsets.sock_cgroup) {
            Some(cgroup) => unit_of_cgroup(cgroup),
            None => OTHER,
        },
    }
}

/// Counts something of a unit, on this CPU.
#[inline(always)]
fn count(unit: u32, what: impl FnOnce(&mut UnitCounters)) {
    if let Some(counters) = UNIT_COUNTERS.get_ptr_mut(unit) {
        // SAFETY: this CPU's own map value. A program that interrupts this one counts another field, or a field of another unit;
        // the kernel does not run a program that it has interrupted itself.
        what(unsafe { &mut *counters });
    }
}

/// Counts a duration of a unit, on this CPU.
#[inline(always)]
fn add(histograms: &PerCpuArray<Histogram>, unit: u32, duration_ns: u64) {
    if let Some(histogram) = histograms.get_ptr_mut(unit) {
        // SAFETY: this CPU's own map value, and one program only has this map.
        unsafe { &mut *histogram }.add(duration_ns);
    }
}

/// Counts a duration of a series, on this CPU; the first one makes the series.
#[inline(always)]
fn add_to<K>(series: &PerCpuHashMap<K, Histogram>, key: K, duration_ns: u64)
where
    K: Copy,
{
    let histogram = match series.get_ptr_mut(key) {
        Some(histogram) => Some(histogram),
        None => {
            if series.insert(key, EMPTY, 0).is_err() {
                lose(|losses| &mut losses.series);
            }
            series.get_ptr_mut(key)
        }
    };
    if let Some(histogram) = histogram {
        // SAFETY: this CPU's own map value, and one program only has this map, which the kernel does not run inside itself.
        unsafe { &mut *histogram }.add(duration_ns);
    }
}

/// Counts an event of a series, on this CPU.
#[inline(always)]
fn count_in<K>(series: &PerCpuHashMap<K, u64>, key: K)
where
    K: Copy,
{
    if let Some(count) = series.get_ptr_mut(key) {
        // SAFETY: as above.
        unsafe { *count = (*count).wrapping_add(1) };
    } else if series.insert(key, 1, 0).is_err() {
        lose(|losses| &mut losses.series);
    }
}

/// Counts something that could not be kept.
#[inline(always)]
fn lose(what: impl FnOnce(&mut Losses) -> &mut u64) {
    if let Some(losses) = LOSSES.get_ptr_mut(0) {
        // SAFETY: a live map value of this CPU; the addition is atomic, as any program may interrupt this one here.
        crate::atomic::fetch_increment(what(unsafe { &mut *losses }));
    }
}

/// Tells an event, or counts it as lost.
#[inline(always)]
fn tell(event: &Event) {
    if EVENTS.output::<Event>(event, 0).is_err() {
        lose(|losses| &mut losses.events);
    }
}
