//! How long tasks have to free memory themselves before they get some: because the machine has none, or their cgroup's limit is reached.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, raw_tracepoint},
    maps::{HashMap, PerCpuArray},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{UNITS, histogram::Histogram};

use super::{add, lose, now_ns, unit_of_current};

/// Tasks that reclaim at once.
const RECLAIMING: u32 = 4096;

/// How long it took, by unit.
#[map]
static RECLAIM: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(UNITS, 0);
/// Since when, by thread.
#[map]
static RECLAIMS: HashMap<u64, u64> = HashMap::with_max_entries(RECLAIMING, 0);

/// The machine is short of memory.
#[raw_tracepoint(tracepoint = "mm_vmscan_direct_reclaim_begin")]
pub fn direct_reclaim_begin(_ctx: RawTracePointContext) -> i32 {
    begin()
}

/// It is over.
#[raw_tracepoint(tracepoint = "mm_vmscan_direct_reclaim_end")]
pub fn direct_reclaim_end(_ctx: RawTracePointContext) -> i32 {
    end()
}

/// A cgroup's limit is reached.
#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_begin")]
pub fn memcg_reclaim_begin(_ctx: RawTracePointContext) -> i32 {
    begin()
}

/// It is over.
#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_end")]
pub fn memcg_reclaim_end(_ctx: RawTracePointContext) -> i32 {
    end()
}

#[inline(always)]
fn begin() -> i32 {
    if RECLAIMS
        .insert(bpf_get_current_pid_tgid(), now_ns(), 0)
        .is_err()
    {
        lose(|losses| &mut losses.beginnings);
    }
    0
}

#[inline(always)]
fn end() -> i32 {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: the value is copied at once.
    if let Some(begun_ns) = unsafe { RECLAIMS.get(thread) }.copied() {
        let _ = RECLAIMS.remove(thread);
        add(
            &RECLAIM,
            unit_of_current(),
            now_ns().saturating_sub(begun_ns),
        );
    }
    0
}
