//! TCP segments that are sent again.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use super::{count, unit_of_socket};

/// A segment is sent again. Arguments: `sk`, `skb`.
#[raw_tracepoint(tracepoint = "tcp_retransmit_skb")]
pub fn tcp_retransmit_skb(ctx: RawTracePointContext) -> i32 {
    count(unit_of_socket(ctx.arg(0)), |counters| {
        counters.retransmits += 1
    });
    0
}
