//! `slow-receiver`: what the unit's TCP packets say about its receive window is made smaller on their way out, on
//! connections that exist as on new ones.
//!
//! The field counts in units that both ends agreed on when they connected (RFC 7323, window scale), so the rule has it as
//! it stands in the header. SYN packets are left alone: theirs is never scaled, and they carry the scale.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_load_bytes, bpf_skb_store_bytes},
    macros::map,
    maps::Array,
};
use observastack_abi::{
    counts::RuleCounts,
    packet::{TCP, tcp},
    rule::{MAX_RULES, fault},
    slow_receiver::SlowReceiverRule,
};

use crate::{passing::Passing, rule::any};

#[map]
static SLOW_RECEIVER_RULES: Array<SlowReceiverRule> = Array::with_max_entries(MAX_RULES, 0);
#[map]
static SLOW_RECEIVER_COUNTS: Array<RuleCounts> = Array::with_max_entries(MAX_RULES, 0);

const WINDOW: u32 = 14;
const CHECKSUM: u32 = 16;

/// Makes the window of a packet smaller. Packets whose window is smaller already are no events.
#[inline(always)]
pub(crate) fn shrink(skb: *mut __sk_buff, passing: &Passing) {
    let packet = &passing.packet;
    // No transport header: an IP fragment but the first, or nothing of TCP's.
    if packet.protocol != TCP
        || packet.transport == 0
        || packet.tcp_flags & (tcp::SYN | tcp::RST) != 0
    {
        return;
    }
    let before = packet.tcp_window;
    let mut window = before;
    any(
        passing.unit,
        passing.active(fault::SLOW_RECEIVER),
        &SLOW_RECEIVER_RULES,
        &SLOW_RECEIVER_COUNTS,
        |rule| &rule.head,
        |rule, counts| {
            if window > rule.window && passing.decide(&rule.head, &rule.filter, counts).is_some() {
                window = rule.window;
            }
            false
        },
    );
    if window != before {
        write(skb, packet.transport, before, window);
    }
}

#[inline(always)]
fn write(skb: *mut __sk_buff, transport: u32, before: u16, after: u16) {
    let at = link_header(skb) + transport;
    let bytes = after.to_be_bytes();
    // SAFETY: the context is the program's own; the helpers check the offsets, and copy two bytes from `bytes`.
    unsafe {
        bpf_l4_csum_replace(
            skb,
            at + CHECKSUM,
            u64::from(before.to_be()),
            u64::from(after.to_be()),
            2,
        );
        bpf_skb_store_bytes(skb, at + WINDOW, bytes.as_ptr().cast(), 2, 0);
    }
}

/// The length of the link's header, which stores count from: 14 on Ethernet and on the loopback device, none on a tunnel
/// of IP packets.
#[inline(always)]
fn link_header(skb: *mut __sk_buff) -> u32 {
    const ETHERNET: u32 = 14;
    let mut ethertype = [0u8; 2];
    // SAFETY: the helper writes at most two bytes.
    let failed = unsafe { bpf_skb_load_bytes(skb.cast(), 12, ethertype.as_mut_ptr().cast(), 2) };
    // SAFETY: the context is the program's own. Both are in network order.
    let protocol = unsafe { (*skb).protocol } as u16;
    if failed == 0 && u16::from_ne_bytes(ethertype) == protocol {
        ETHERNET
    } else {
        0
    }
}
