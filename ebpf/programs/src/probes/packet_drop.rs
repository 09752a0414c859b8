//! Packets that the kernel throws away, by its own reasons.
//!
//! Whose a packet was: the socket's that was to receive it (6.11 tells it), or that has sent it, or else the one that listens on its
//! destination's port.

use aya_ebpf::{
    macros::{map, raw_tracepoint},
    maps::{HashMap, PerCpuHashMap},
    programs::RawTracePointContext,
};
use observastack_abi::telemetry::OTHER;

use super::{ON_DEMAND, count_in, offsets, unit_of_socket};
use crate::units::read;

/// Pairs of unit and reason.
const MAX_SERIES: u32 = 1024;
/// Ports that units listen on.
const MAX_PORTS: u32 = 1024;

/// How many, by unit (upper half) and reason (`enum skb_drop_reason`, or a subsystem's number in its upper 16 bits).
#[map]
static DROPS: PerCpuHashMap<u64, u64> = PerCpuHashMap::with_max_entries(MAX_SERIES, ON_DEMAND);
/// Units that listen, by TCP port; kept by user space.
#[map]
static LISTENERS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_PORTS, 0);

/// A packet is thrown away. Arguments: `skb`, `location`, `reason`, and from 6.11 on `rx_sk`.
#[raw_tracepoint(tracepoint = "kfree_skb")]
pub fn kfree_skb(ctx: RawTracePointContext) -> i32 {
    let skb: *const u8 = ctx.arg(0);
    let offsets = offsets();
    let mut unit = OTHER;
    if offsets.drop_has_socket != 0 {
        unit = unit_of_socket(ctx.arg(3));
    }
    if unit == OTHER {
        unit = match read(skb, offsets.skb_sock) {
            Some(socket) => unit_of_socket(socket),
            None => OTHER,
        };
    }
    if unit == OTHER {
        unit = unit_of_destination(skb).unwrap_or(OTHER);
    }
    let reason = ctx.arg::<u64>(2) as u32;
    count_in(&DROPS, (unit as u64) << 32 | reason as u64);
    0
}

/// The unit that listens on the port that a TCP packet over IPv4 goes to.
#[inline(always)]
fn unit_of_destination(skb: *const u8) -> Option<u32> {
    const TCP: u8 = 6;
    let offsets = offsets();
    let head: *const u8 = read(skb, offsets.skb_head)?;
    let network: u16 = read(skb, offsets.skb_network_header)?;
    let packet = head.wrapping_add(network as usize);
    let header: [u8; 10] = read(packet, 0)?;
    if header[0] >> 4 != 4 || header[9] != TCP {
        return None;
    }
    let port: u16 = read(packet, (header[0] & 15) as u32 * 4 + 2)?;
    // SAFETY: the value is copied at once.
    unsafe { LISTENERS.get(u16::from_be(port) as u32) }.copied()
}
