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
    LatencyRule,
    MtuBlackholeRule,
    PacketLossRule,
    RuleCounts,
    SignalRule,
    SlowReceiverRule,
    SyscallErrorRule,
    UnitName,
}
