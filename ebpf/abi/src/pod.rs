//! The shared types may cross the `bpf(2)` boundary.

use aya::Pod;

use crate::{
    bandwidth::BandwidthRule,
    bind_error::BindErrorRule,
    connect_error::ConnectErrorRule,
    counts::RuleCounts,
    latency::LatencyRule,
    mtu_blackhole::MtuBlackholeRule,
    packet_loss::PacketLossRule,
    rule::ActiveSlots,
    signal::SignalRule,
    slow_receiver::SlowReceiverRule,
    syscall_error::{FileOffsets, SyscallErrorRule},
    telemetry::{
        block_io,
        counters::{Losses, UnitCounters},
        histogram::Histogram,
        off_cpu,
        offsets::ProbeOffsets,
        profile::{PidNamespace, Sample, Slept},
        run_queue::{Preemptions, Switched, Waiting},
        syscalls,
    },
    unit::{CgroupOffsets, UnitName},
};

macro_rules! pod {
    ($($name:ty),* $(,)?) => {$(
        // SAFETY: repr(C), Copy, no implicit padding (a const size assert beside it), and any bit pattern is valid.
        unsafe impl Pod for $name {}
    )*};
}

pod! {
    ActiveSlots,
    BandwidthRule,
    BindErrorRule,
    CgroupOffsets,
    ConnectErrorRule,
    FileOffsets,
    Histogram,
    LatencyRule,
    Losses,
    MtuBlackholeRule,
    PacketLossRule,
    PidNamespace,
    Preemptions,
    ProbeOffsets,
    RuleCounts,
    Sample,
    SignalRule,
    Slept,
    SlowReceiverRule,
    Switched,
    SyscallErrorRule,
    UnitCounters,
    UnitName,
    Waiting,
    block_io::Series,
    block_io::Submitted,
    off_cpu::Blocked,
    off_cpu::Series,
    syscalls::Entered,
    syscalls::Series,
}
