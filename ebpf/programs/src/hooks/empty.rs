//! Programs that do nothing, one for each that `cargo xtask bench faults` measures: what the kernel's own statistics say of
//! them is the price of being there at all. The injector does not load them.

use aya_ebpf::{
    macros::{cgroup_skb, cgroup_sock_addr, classifier, raw_tracepoint},
    programs::{RawTracePointContext, SkBuffContext, SockAddrContext, TcContext},
};

const ALLOW: i32 = 1;
/// The next program goes on (`TC_ACT_UNSPEC`, `TCX_NEXT`).
const NEXT: i32 = -1;

/// Stands for `packet_in`.
#[cgroup_skb]
pub fn empty_packet_in(_ctx: SkBuffContext) -> i32 {
    ALLOW
}

/// Stands for `packet_time_out`.
#[cgroup_skb]
pub fn empty_packet_time_out(_ctx: SkBuffContext) -> i32 {
    ALLOW
}

/// Stands for `packet_time_in`.
#[cgroup_skb]
pub fn empty_packet_time_in(_ctx: SkBuffContext) -> i32 {
    ALLOW
}

/// Stands for `packet_out`.
#[classifier]
pub fn empty_packet_out(_ctx: TcContext) -> i32 {
    NEXT
}

/// Stands for `connect4`.
#[cgroup_sock_addr(connect4)]
pub fn empty_connect4(_ctx: SockAddrContext) -> i32 {
    ALLOW
}

/// Stands for `bind4`.
#[cgroup_sock_addr(bind4)]
pub fn empty_bind4(_ctx: SockAddrContext) -> i32 {
    ALLOW
}

/// Stands for `sys_enter`.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn empty_sys_enter(_ctx: RawTracePointContext) -> i32 {
    0
}
