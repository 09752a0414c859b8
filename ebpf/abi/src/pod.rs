//! The shared types may cross the `bpf(2)` boundary.

use aya::Pod;

use crate::{
    connect_error::ConnectErrorRule,
    counts::RuleCounts,
    packet_loss::PacketLossRule,
    unit::{CgroupOffsets, UnitName},
};

// SAFETY: each is repr(C), Copy, has no implicit padding (const size asserts beside each), and any bit pattern is valid.
unsafe impl Pod for PacketLossRule {}
// SAFETY: as above.
unsafe impl Pod for ConnectErrorRule {}
// SAFETY: as above.
unsafe impl Pod for RuleCounts {}
// SAFETY: as above.
unsafe impl Pod for UnitName {}
// SAFETY: as above.
unsafe impl Pod for CgroupOffsets {}
