//! Rules as the benchmarks arm them.

use std::time::Duration;

use observastack_loader::{
    Rule,
    abi::{
        bind_error::BindErrorRule,
        connect_error::ConnectErrorRule,
        decision::threshold,
        latency::LatencyRule,
        packet::{DIRECTION_IN, PacketFilter},
        packet_loss::PacketLossRule,
        rule::{FLAG_BURST, RuleHead},
        signal::SignalRule,
    },
};

use crate::stats::now_ns;

/// Longer than any benchmark.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// Linux's number for "no route to host" (`asm-generic/errno.h`).
const EHOSTUNREACH: i32 = 113;

/// What every rule has, and which packets or calls it is about.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    head: RuleHead,
    filter: PacketFilter,
}

impl Plan {
    /// Faults events with this probability and seed; of packets those that arrive.
    pub(super) fn of(probability: f64, seed: u64) -> Self {
        Self {
            head: RuleHead {
                id: 1,
                end_ns: after_ns(HOUR),
                seed,
                threshold: threshold(probability),
                ..RuleHead::default()
            },
            filter: PacketFilter {
                direction: DIRECTION_IN,
                ..PacketFilter::default()
            },
        }
    }

    /// Faults events in bursts (Gilbert-Elliott).
    pub(super) fn bursts(enter: f64, leave: f64, seed: u64) -> Self {
        let mut plan = Self::of(1.0, seed);
        plan.head.flags |= FLAG_BURST;
        plan.head.burst_enter = threshold(enter);
        plan.head.burst_leave = threshold(leave);
        plan
    }

    pub(super) fn direction(mut self, direction: u8) -> Self {
        self.filter.direction = direction;
        self
    }

    pub(super) fn port(mut self, port: u16) -> Self {
        self.filter.port = port;
        self
    }

    pub(super) fn protocol(mut self, protocol: u8) -> Self {
        self.filter.protocol = protocol;
        self
    }

    pub(super) fn loss(self) -> Rule {
        Rule::PacketLoss(PacketLossRule {
            head: self.head,
            filter: self.filter,
        })
    }

    pub(super) fn latency(self) -> Rule {
        Rule::Latency(LatencyRule {
            head: self.head,
            filter: self.filter,
            delay_ns: 1_000_000,
            ..LatencyRule::default()
        })
    }

    pub(super) fn connect_error(self) -> Rule {
        Rule::ConnectError(ConnectErrorRule {
            head: self.head,
            filter: self.filter,
            retval: -EHOSTUNREACH,
            ..ConnectErrorRule::default()
        })
    }

    pub(super) fn bind_error(self) -> Rule {
        Rule::BindError(BindErrorRule {
            head: self.head,
            filter: self.filter,
            retval: -EHOSTUNREACH,
            ..BindErrorRule::default()
        })
    }

    pub(super) fn signal(self, syscall: u32) -> Rule {
        Rule::Signal(SignalRule {
            head: self.head,
            syscall,
            signal: 0,
        })
    }
}

/// A time from now, as rules and leases have it.
pub(super) fn after_ns(duration: Duration) -> u64 {
    now_ns() + duration.as_nanos() as u64
}
