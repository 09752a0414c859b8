//! How long block I/O takes, from when a bio is submitted to its end, by unit, device and operation.
//!
//! Bios and not requests: devices of the device mapper have none, and a delay of theirs is told by their bios only. The kernel tells
//! the end of a bio itself where it belongs to no request, and that of its request otherwise.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::{LruHashMap, PerCpuHashMap},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{
    OTHER,
    block_io::{Series, Submitted, operation_of},
    histogram::Histogram,
};

use super::{ON_DEMAND, add_to, lose, now_ns, offsets, unit_of_cgroup, unit_of_current};
use crate::units::read;

/// Bios that were merged into one request, at most; more are not told.
const MERGED: u32 = 32;
/// Bios on their way at once.
const IN_FLIGHT: u32 = 16384;
/// Triples of unit, device and operation.
const MAX_SERIES: u32 = 1024;

/// How long it took.
#[map]
static BLOCK_IO: PerCpuHashMap<Series, Histogram> =
    PerCpuHashMap::with_max_entries(MAX_SERIES, ON_DEMAND);
/// Bios on their way. The oldest makes room: the end of one that fails early is not told.
#[map]
static BIOS: LruHashMap<u64, Submitted> = LruHashMap::with_max_entries(IN_FLIGHT, 0);

/// A bio is submitted. Arguments: `bio`.
#[raw_tracepoint(tracepoint = "block_bio_queue")]
pub fn block_bio_queue(ctx: RawTracePointContext) -> i32 {
    let _ = on_queue(ctx.arg(0));
    0
}

/// A bio without a request has come to its end. Arguments: `q`, `bio`.
#[raw_tracepoint(tracepoint = "block_bio_complete")]
pub fn block_bio_complete(ctx: RawTracePointContext) -> i32 {
    complete_bio(ctx.arg(1))
}

/// So many bytes of a request are done. Arguments: `rq`, `error`, `nr_bytes`.
#[raw_tracepoint(tracepoint = "block_rq_complete")]
pub fn block_rq_complete(ctx: RawTracePointContext) -> i32 {
    let _ = on_request(ctx.arg(0), ctx.arg::<u64>(2) as u32);
    0
}

/// The request's bios that these bytes bring to their end.
#[inline(always)]
fn on_request(request: *const u8, bytes: u32) -> Option<()> {
    let offsets = offsets();
    let mut left = bytes;
    let mut bio: *const u8 = read(request, offsets.request_bio)?;
    for _ in 0..MERGED {
        if bio.is_null() {
            return None;
        }
        left = left.checked_sub(read(bio, offsets.bio_bytes)?)?;
        let next = read(bio, offsets.bio_next)?;
        complete_bio(bio as u64);
        bio = next;
    }
    Some(())
}

#[inline(always)]
fn on_queue(bio: *const u8) -> Option<()> {
    let offsets = offsets();
    let device = read(read(bio, offsets.bio_device)?, offsets.device_number)?;
    let flags = read(bio, offsets.bio_flags)?;
    let bytes = read(bio, offsets.bio_bytes)?;
    let mut unit = unit_of_current();
    if unit == OTHER {
        unit = charged_unit(bio).unwrap_or(OTHER);
    }
    let submitted = Submitted {
        at_ns: now_ns(),
        series: Series {
            unit,
            device,
            operation: operation_of(flags, offsets.preflush_bit, bytes),
        },
        _reserved: 0,
    };
    if BIOS.insert(bio as u64, submitted, 0).is_err() {
        lose(|losses| &mut losses.beginnings);
    }
    Some(())
}

/// The unit that the kernel charges, where it counts I/O by cgroup: a thread of its own writes back what others have written.
#[inline(always)]
fn charged_unit(bio: *const u8) -> Option<u32> {
    let offsets = offsets();
    let group: *const u8 = read(bio, offsets.bio_group)?;
    if group.is_null() {
        return None;
    }
    let owner: *const u8 = read(group, offsets.group_owner)?;
    Some(unit_of_cgroup(read(owner, offsets.owner_cgroup)?))
}

/// A bio's end. A global function, which is verified once and not again in every turn of a loop: 6.1 gives up on the latter.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn complete_bio(bio: u64) -> i32 {
    let _ = on_complete(bio);
    0
}

#[inline(always)]
fn on_complete(bio: u64) -> Option<()> {
    // SAFETY: the value is copied at once.
    let submitted = *unsafe { BIOS.get(bio) }?;
    let _ = BIOS.remove(bio);
    let took_ns = now_ns().saturating_sub(submitted.at_ns);
    add_to(&BLOCK_IO, submitted.series, took_ns);
    Some(())
}
