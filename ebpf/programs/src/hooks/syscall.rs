//! Every system call's start: the raw tracepoint `sys_enter`, attached only while a rule asks for it.

use aya_ebpf::{
    helpers::bpf_get_current_cgroup_id, macros::raw_tracepoint, programs::RawTracePointContext,
};

use crate::{signal, units};

/// Looks at one system call of any process.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the helper takes no arguments; the tracepoint runs in the caller's context.
    if let Some(unit) = units::index_of(unsafe { bpf_get_current_cgroup_id() }) {
        signal::send(unit, ctx.arg::<u64>(1) as u32);
    }
    0
}
