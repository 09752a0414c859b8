//! The faults that the programs know: what each loads, where it attaches, and its rules.

mod connect_error;
mod packet_loss;

pub(crate) use connect_error::ConnectError;
use observastack_abi::{
    connect_error::ConnectErrorRule, packet_loss::PacketLossRule, rule::RuleHead,
};
pub(crate) use packet_loss::PacketLoss;

/// A fault by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// Packets that arrive at a unit vanish.
    PacketLoss,
    /// A unit's `connect(2)` fails.
    ConnectError,
}

impl FaultKind {
    /// Every fault.
    pub const ALL: [Self; 2] = [Self::PacketLoss, Self::ConnectError];

    /// The fault's name as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PacketLoss => "packet-loss",
            Self::ConnectError => "connect-error",
        }
    }
}

/// A rule of any fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A rule of `packet-loss`.
    PacketLoss(PacketLossRule),
    /// A rule of `connect-error`.
    ConnectError(ConnectErrorRule),
}

impl Rule {
    /// The fault that this rule belongs to.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::PacketLoss(_) => FaultKind::PacketLoss,
            Self::ConnectError(_) => FaultKind::ConnectError,
        }
    }

    /// What every rule has.
    pub fn head(&self) -> &RuleHead {
        match self {
            Self::PacketLoss(rule) => &rule.head,
            Self::ConnectError(rule) => &rule.head,
        }
    }
}
