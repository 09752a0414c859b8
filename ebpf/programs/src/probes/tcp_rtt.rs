//! Smoothed round-trip times of established connections, as the kernel has them when segments arrive.

use aya_ebpf::{
    helpers::generated::bpf_get_prandom_u32,
    macros::{map, raw_tracepoint},
    maps::PerCpuArray,
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::{UNITS, histogram::Histogram};

use super::{add, offsets, unit_of_socket};
use crate::units::read;

/// One of so many segments is looked at: a smoothed time changes by an eighth with each measurement. Which one is chance: requests and
/// answers take turns, and every eighth segment of a CPU would be the same side's again and again.
const ONE_OF: u32 = 8;

/// Smoothed round-trip times, by unit.
#[map]
static TCP_RTT: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(UNITS, 0);

/// A segment arrives at an established connection. Arguments: `sk`, `skb`.
#[raw_tracepoint(tracepoint = "tcp_probe")]
pub fn tcp_probe(ctx: RawTracePointContext) -> i32 {
    let _ = on_segment(ctx.arg(0));
    0
}

#[inline(always)]
fn on_segment(socket: *const u8) -> Option<()> {
    // SAFETY: the helper takes no arguments and has no preconditions.
    if unsafe { bpf_get_prandom_u32() } % ONE_OF != 0 {
        return None;
    }
    let eight_times_us: u32 = read(socket, offsets().tcp_srtt)?;
    if eight_times_us != 0 {
        add(
            &TCP_RTT,
            unit_of_socket(socket),
            u64::from(eight_times_us) * (1000 / 8),
        );
    }
    Some(())
}
