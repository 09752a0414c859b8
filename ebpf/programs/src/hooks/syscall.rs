//! Every system call's start: the raw tracepoint `sys_enter`, attached only while a rule asks for it.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use observastack_abi::rule::fault;

use crate::{rule::caller, signal};

/// Looks at one system call of any process.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    if let Some((unit, active)) = caller(1 << fault::SIGNAL) {
        signal::send(unit, active, ctx.arg::<u64>(1) as u32);
    }
    0
}
