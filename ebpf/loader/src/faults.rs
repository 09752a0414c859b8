//! The faults that the programs know, and the rules that they read.

use observastack_abi::{
    bandwidth::BandwidthRule,
    bind_error::BindErrorRule,
    connect_error::ConnectErrorRule,
    latency::LatencyRule,
    mtu_blackhole::MtuBlackholeRule,
    packet::{DIRECTION_IN, DIRECTION_OUT, PacketFilter},
    packet_loss::PacketLossRule,
    rule::{RuleHead, fault},
    signal::SignalRule,
    slow_receiver::SlowReceiverRule,
    syscall_error::SyscallErrorRule,
};

use crate::hook::{self, Program};

/// A fault by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// Packets to or from a unit vanish; `blackhole` is one of probability 1.
    PacketLoss,
    /// Large packets to or from a unit vanish.
    MtuBlackhole,
    /// Packets to or from a unit take longer.
    Latency,
    /// Packets to or from a unit leave at a rate.
    Bandwidth,
    /// A unit seems to have little room for what its peers send.
    SlowReceiver,
    /// A unit's `connect(2)` fails.
    ConnectError,
    /// A unit's `bind(2)` fails.
    BindError,
    /// A unit's system calls fail.
    SyscallError,
    /// A unit's process gets a signal at a system call.
    Signal,
}

impl FaultKind {
    /// Every fault, each at its own index in [`observastack_abi::rule::ActiveSlots`].
    pub const ALL: [Self; 9] = [
        Self::PacketLoss,
        Self::MtuBlackhole,
        Self::Latency,
        Self::Bandwidth,
        Self::SlowReceiver,
        Self::ConnectError,
        Self::BindError,
        Self::SyscallError,
        Self::Signal,
    ];

    /// The fault's name as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PacketLoss => "packet-loss",
            Self::MtuBlackhole => "mtu-blackhole",
            Self::Latency => "latency",
            Self::Bandwidth => "bandwidth",
            Self::SlowReceiver => "slow-receiver",
            Self::ConnectError => "connect-error",
            Self::BindError => "bind-error",
            Self::SyscallError => "syscall-error",
            Self::Signal => "signal",
        }
    }

    /// Its index in [`observastack_abi::rule::ActiveSlots`].
    pub(crate) fn index(self) -> usize {
        match self {
            Self::PacketLoss => fault::PACKET_LOSS,
            Self::MtuBlackhole => fault::MTU_BLACKHOLE,
            Self::Latency => fault::LATENCY,
            Self::Bandwidth => fault::BANDWIDTH,
            Self::SlowReceiver => fault::SLOW_RECEIVER,
            Self::ConnectError => fault::CONNECT_ERROR,
            Self::BindError => fault::BIND_ERROR,
            Self::SyscallError => fault::SYSCALL_ERROR,
            Self::Signal => fault::SIGNAL,
        }
    }

    /// Every program that a rule of this fault may need.
    pub fn programs(self) -> &'static [&'static Program] {
        match self {
            Self::PacketLoss | Self::MtuBlackhole => &[&hook::PACKET_IN, &hook::PACKET_OUT],
            Self::Latency | Self::Bandwidth => &[&hook::PACKET_TIME_OUT, &hook::PACKET_TIME_IN],
            Self::SlowReceiver => &[&hook::PACKET_OUT],
            Self::ConnectError => &[&hook::CONNECT4, &hook::CONNECT6],
            Self::BindError => &[&hook::BIND4, &hook::BIND6],
            Self::SyscallError => &hook::SECURITY,
            Self::Signal => &[&hook::SYS_ENTER],
        }
    }
}

/// A rule of any fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A rule of `packet-loss`.
    PacketLoss(PacketLossRule),
    /// A rule of `mtu-blackhole`.
    MtuBlackhole(MtuBlackholeRule),
    /// A rule of `latency`.
    Latency(LatencyRule),
    /// A rule of `bandwidth`.
    Bandwidth(BandwidthRule),
    /// A rule of `slow-receiver`.
    SlowReceiver(SlowReceiverRule),
    /// A rule of `connect-error`.
    ConnectError(ConnectErrorRule),
    /// A rule of `bind-error`.
    BindError(BindErrorRule),
    /// A rule of `syscall-error`.
    SyscallError(SyscallErrorRule),
    /// A rule of `signal`.
    Signal(SignalRule),
}

impl Rule {
    /// The fault that this rule belongs to.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::PacketLoss(_) => FaultKind::PacketLoss,
            Self::MtuBlackhole(_) => FaultKind::MtuBlackhole,
            Self::Latency(_) => FaultKind::Latency,
            Self::Bandwidth(_) => FaultKind::Bandwidth,
            Self::SlowReceiver(_) => FaultKind::SlowReceiver,
            Self::ConnectError(_) => FaultKind::ConnectError,
            Self::BindError(_) => FaultKind::BindError,
            Self::SyscallError(_) => FaultKind::SyscallError,
            Self::Signal(_) => FaultKind::Signal,
        }
    }

    /// What every rule has.
    pub fn head(&self) -> &RuleHead {
        match self {
            Self::PacketLoss(rule) => &rule.head,
            Self::MtuBlackhole(rule) => &rule.head,
            Self::Latency(rule) => &rule.head,
            Self::Bandwidth(rule) => &rule.head,
            Self::SlowReceiver(rule) => &rule.head,
            Self::ConnectError(rule) => &rule.head,
            Self::BindError(rule) => &rule.head,
            Self::SyscallError(rule) => &rule.head,
            Self::Signal(rule) => &rule.head,
        }
    }

    /// Whether it asks for what is in a packet's headers.
    pub(crate) fn needs_headers(&self) -> bool {
        match self {
            Self::PacketLoss(PacketLossRule { filter, .. })
            | Self::Latency(LatencyRule { filter, .. })
            | Self::Bandwidth(BandwidthRule { filter, .. }) => filter.needs_headers(),
            Self::MtuBlackhole(_) | Self::SlowReceiver(_) => true,
            _ => false,
        }
    }

    /// The programs that this rule needs, of those that its fault has.
    pub fn programs(&self) -> Vec<&'static Program> {
        let directions = |filter: &PacketFilter, inward, outward| {
            let wanted = [(DIRECTION_IN, inward), (DIRECTION_OUT, outward)];
            let wanted = wanted
                .into_iter()
                .filter(|(bit, _)| filter.direction & bit != 0);
            wanted.map(|(_, program)| program).collect()
        };
        match self {
            Self::PacketLoss(PacketLossRule { filter, .. })
            | Self::MtuBlackhole(MtuBlackholeRule { filter, .. }) => {
                directions(filter, &hook::PACKET_IN, &hook::PACKET_OUT)
            }
            Self::Latency(LatencyRule { filter, .. })
            | Self::Bandwidth(BandwidthRule { filter, .. }) => {
                directions(filter, &hook::PACKET_TIME_IN, &hook::PACKET_TIME_OUT)
            }
            Self::SyscallError(rule) => hook::SECURITY
                .into_iter()
                .filter(|program| program.calls & rule.calls != 0)
                .collect(),
            Self::SlowReceiver(_)
            | Self::ConnectError(_)
            | Self::BindError(_)
            | Self::Signal(_) => self.kind().programs().to_vec(),
        }
    }
}

/// A rule of one type, as its maps hold it.
pub(crate) trait KernelRule: aya::Pod + Default + Send {
    fn head_mut(&mut self) -> &mut RuleHead;
    fn of(rule: &Rule) -> Option<&Self>;
}

macro_rules! kernel_rules {
    ($($variant:ident($rule:ty)),* $(,)?) => {$(
        impl KernelRule for $rule {
            fn head_mut(&mut self) -> &mut RuleHead {
                &mut self.head
            }

            fn of(rule: &Rule) -> Option<&Self> {
                match rule {
                    Rule::$variant(rule) => Some(rule),
                    _ => None,
                }
            }
        }
    )*};
}

kernel_rules! {
    PacketLoss(PacketLossRule),
    MtuBlackhole(MtuBlackholeRule),
    Latency(LatencyRule),
    Bandwidth(BandwidthRule),
    SlowReceiver(SlowReceiverRule),
    ConnectError(ConnectErrorRule),
    BindError(BindErrorRule),
    SyscallError(SyscallErrorRule),
    Signal(SignalRule),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_an_index_and_a_name_of_its_own() {
        for (at, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), at);
            let same = FaultKind::ALL
                .iter()
                .filter(|other| other.name() == kind.name());
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn a_direction_needs_its_own_program_only() {
        let rule = |direction| {
            Rule::PacketLoss(PacketLossRule {
                filter: PacketFilter {
                    direction,
                    ..PacketFilter::default()
                },
                ..PacketLossRule::default()
            })
        };
        let names = |rule: Rule| {
            rule.programs()
                .iter()
                .map(|program| program.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(rule(DIRECTION_IN)), ["packet_in"]);
        assert_eq!(names(rule(DIRECTION_OUT)), ["packet_out"]);
        assert_eq!(
            names(rule(DIRECTION_IN | DIRECTION_OUT)),
            ["packet_in", "packet_out"]
        );
    }

    #[test]
    fn every_call_has_a_program() {
        for call in 0..16 {
            let rule = Rule::SyscallError(SyscallErrorRule {
                calls: 1 << call,
                ..SyscallErrorRule::default()
            });
            assert_eq!(rule.programs().len(), 1, "call {call}");
        }
    }
}
