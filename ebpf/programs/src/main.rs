//! The kernel side of ObservaStack: one file per fault, one per hook, and what they share.
//!
//! | hook | programs | attached to | faults, in the order in which they act |
//! |---|---|---|---|
//! | [`units`] | `cgroup_mkdir`, `cgroup_rmdir` | raw tracepoints of the same names | - |
//! | `hooks/packet_in.rs` | `packet_in` | `cgroup_skb` ingress of a target slice | [`packet_loss`], [`mtu_blackhole`] |
//! | `hooks/packet_time.rs` | `packet_time_out`, `packet_time_in` | `cgroup_skb` egress of a target slice, and of the root | [`bandwidth`], [`latency`] |
//! | `hooks/packet_out.rs` | `packet_out` | `sched_cls` egress of every interface | [`packet_loss`], [`mtu_blackhole`], [`slow_receiver`] |
//! | `hooks/address.rs` | `connect4`, `connect6`, `bind4`, `bind6` | cgroup hooks of the same names, of a target slice | [`connect_error`], [`bind_error`] |
//! | `hooks/security.rs` | one for each LSM hook | BPF LSM | [`syscall_error`] |
//! | `hooks/syscall.rs` | `sys_enter` | the raw tracepoint | [`signal`] |
//!
//! Every hook does the same, and stops as soon as it can: ask whether there is any rule for it ([`rule::are_any`]), find the unit of
//! the event ([`units::index_of`]), look at that unit's rules ([`rule::active`], [`rule::any`]), and let [`rule::decide`] decide,
//! count and log.
#![no_std]
#![no_main]
#![allow(
    internal_features,
    reason = "atomic_xadd is the one atomic that bpfel has, and it is an intrinsic"
)]
#![feature(core_intrinsics)]

mod atomic;
mod bandwidth;
mod bind_error;
mod clock;
mod connect_error;
mod hooks;
mod latency;
mod lease;
mod mtu_blackhole;
mod packet;
mod packet_loss;
mod passing;
mod rule;
mod runtime;
mod signal;
mod slow_receiver;
mod syscall_error;
mod units;
