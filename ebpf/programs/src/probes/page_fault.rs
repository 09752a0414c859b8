//! Page faults in user mode.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use super::{count, unit_of_current};

/// A task has touched memory that is not mapped, or not for that (x86 only).
#[raw_tracepoint(tracepoint = "page_fault_user")]
pub fn page_fault_user(_ctx: RawTracePointContext) -> i32 {
    count(unit_of_current(), |counters| counters.page_faults += 1);
    0
}
