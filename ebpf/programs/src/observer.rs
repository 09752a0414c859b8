//! The kernel side of telemetry: one file per probe, and what they share.
//!
//! | probe | raw tracepoints | what it tells |
//! |---|---|---|
//! | [`probes::run_queue`] | `sched_wakeup`, `sched_wakeup_new`, `sched_switch` | how long tasks waited for a CPU, and who preempted whom |
//! | [`probes::tcp_connect`] | `inet_sock_set_state` | how long connections took to be made, and how many were not |
//! | [`probes::tcp_rtt`] | `tcp_probe` | smoothed round-trip times |
//! | [`probes::tcp_retransmit`] | `tcp_retransmit_skb` | segments sent again |
//! | [`probes::tcp_reset`] | `tcp_send_reset`, `tcp_receive_reset` | resets |
//! | [`probes::packet_drop`] | `kfree_skb` | packets that the kernel threw away, by reason |
//! | [`probes::block_io`] | `block_bio_queue`, `block_bio_complete`, `block_rq_complete` | how long block I/O took, by device and operation |
//! | [`probes::page_fault`] | `page_fault_user` | page faults |
//! | [`probes::reclaim`] | `mm_vmscan_*_reclaim_begin`, `_end` | how long tasks had to free memory themselves |
//! | [`probes::process`] | `sched_process_exec`, `sched_process_exit` | programs executed, processes ended and why |
//! | [`probes::syscalls`] | `sys_enter`, `sys_exit` | on demand: system calls by number, errno and latency |
//! | [`probes::off_cpu`] | those of `run_queue` and `syscalls` | on demand: how long tasks sleep, and in which system call |
//! | [`probes::profile`] | a timer of each CPU | on demand: where tasks are, as stacks |
//! | [`probes::trace`] | those of TCP, and the programs above | on demand: events of a unit one by one |
//!
//! Everything is kept by unit, on each CPU apart, and read by user space when somebody asks. Raw tracepoints, because their
//! arguments are only ever appended to. What happens in a softirq or at an I/O's completion is accounted to the unit of the socket
//! or of the one that submitted, never to the task that was interrupted.
#![no_std]
#![no_main]
#![allow(
    internal_features,
    reason = "atomic_xadd is the one atomic that bpfel has, and it is an intrinsic"
)]
#![feature(core_intrinsics)]

mod atomic;
mod probes;
mod runtime;
mod units;
