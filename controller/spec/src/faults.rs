//! One file per fault: its own parameters, their ranges, and which of the common options it has a use for.

mod bandwidth;
mod bind_error;
mod blackhole;
mod check;
mod connect_error;
mod cpu_quota;
mod cpu_stress;
pub(crate) mod defaults;
mod disk_delay;
mod disk_error;
mod disk_fill;
mod fd_limit;
mod freeze;
mod latency;
mod memory_limit;
mod mtu_blackhole;
mod packet_loss;
mod reset;
mod signal;
mod slow_receiver;
mod syscall_error;
mod tasks_limit;
mod unit;

pub use bandwidth::Bandwidth;
pub use bind_error::BindError;
pub use blackhole::Blackhole;
pub use connect_error::ConnectError;
pub use cpu_quota::CpuQuota;
pub use cpu_stress::CpuStress;
pub use disk_delay::DiskDelay;
pub use disk_error::DiskError;
pub use disk_fill::DiskFill;
pub use fd_limit::FdLimit;
pub use freeze::Freeze;
pub use latency::Latency;
pub use memory_limit::MemoryLimit;
pub use mtu_blackhole::MtuBlackhole;
pub use packet_loss::PacketLoss;
pub use reset::Reset;
pub use signal::SignalFault;
pub use slow_receiver::SlowReceiver;
pub use syscall_error::SyscallError;
pub use tasks_limit::TasksLimit;
pub use unit::UnitFault;

use crate::FieldError;

/// What every fault's own parameters can tell.
pub trait Parameters {
    /// The fault's name as users write it.
    const KIND: &'static str;

    /// Which of the common options it has a use for.
    fn uses(&self) -> Uses;

    /// Adds an error for each field that is out of range.
    fn check(&self, errors: &mut Vec<FieldError>);

    /// The parameters for people; empty where there is nothing to say.
    fn describe(&self) -> String;
}

/// Which of the common options a fault has a use for. The others must keep their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses {
    /// The share of events, or of connections.
    pub probability: bool,
    /// Every nth event only.
    pub every: bool,
    /// Not the first events.
    pub after: bool,
    /// Not more than so many.
    pub max: bool,
    /// What repeats the same choice.
    pub seed: bool,
    /// The decisions of the kernel.
    pub verbose: bool,
    /// `max` where the user has given none.
    pub max_by_default: Option<u64>,
    /// Why it has no use for the others.
    pub reason: &'static str,
}

impl Uses {
    /// A fault that picks single events.
    pub(crate) const fn events(reason: &'static str) -> Self {
        Self {
            probability: true,
            every: true,
            after: true,
            max: true,
            seed: true,
            verbose: true,
            max_by_default: None,
            reason,
        }
    }

    /// A fault of all events from one on up to another: nothing is drawn.
    pub(crate) const fn every_event(reason: &'static str) -> Self {
        Self {
            probability: false,
            every: false,
            seed: false,
            ..Self::events(reason)
        }
    }

    /// A fault without events.
    pub(crate) const fn nothing(reason: &'static str) -> Self {
        Self {
            after: false,
            max: false,
            verbose: false,
            ..Self::every_event(reason)
        }
    }
}

/// Joins what there is to say.
fn words<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
