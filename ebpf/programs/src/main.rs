//! The kernel side of ObservaStack: one file per fault, and what they share.
//!
//! | file | programs | attached to |
//! |---|---|---|
//! | [`units`] | `cgroup_mkdir`, `cgroup_rmdir` | raw tracepoints of the same names |
//! | [`packet_loss`] | `packet_loss` | `cgroup_skb` ingress of a target slice |
//! | [`connect_error`] | `connect_error4`, `connect_error6` | `cgroup/connect4` and `connect6` of a target slice |
//!
//! Every fault program does the same: find the unit of the event ([`units::index_of`]), look at that unit's
//! rules, and let [`rule::Decision`] decide, count and log.
#![no_std]
#![no_main]
#![allow(
    internal_features,
    reason = "atomic_xadd is the one atomic that bpfel has, and it is an intrinsic"
)]
#![feature(core_intrinsics)]

mod atomic;
mod connect_error;
mod lease;
mod packet_loss;
mod rule;
mod units;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier refuses a reachable endless loop: this is only here because the language wants it.
    loop {}
}

/// The licence that the kernel checks before it lets a program call GPL-only helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
