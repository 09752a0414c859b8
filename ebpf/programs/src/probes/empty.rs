//! Programs that do nothing, beside which `cargo xtask bench probes` measures the others: what the kernel's own statistics say of them
//! is the price of being there at all. The observer does not load them.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

/// Stands for `sched_switch`.
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn empty_sched_switch(_ctx: RawTracePointContext) -> i32 {
    0
}

/// Stands for `sched_wakeup`.
#[raw_tracepoint(tracepoint = "sched_wakeup")]
pub fn empty_sched_wakeup(_ctx: RawTracePointContext) -> i32 {
    0
}

/// Stands for `sys_enter`.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn empty_sys_enter(_ctx: RawTracePointContext) -> i32 {
    0
}

/// Stands for `sys_exit`.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn empty_sys_exit(_ctx: RawTracePointContext) -> i32 {
    0
}

/// Stands for `tcp_probe`.
#[raw_tracepoint(tracepoint = "tcp_probe")]
pub fn empty_tcp_probe(_ctx: RawTracePointContext) -> i32 {
    0
}

/// Stands for `page_fault_user`.
#[raw_tracepoint(tracepoint = "page_fault_user")]
pub fn empty_page_fault_user(_ctx: RawTracePointContext) -> i32 {
    0
}
