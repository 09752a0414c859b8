//! Rules as the tests arm them, and the fates that they predict.

use std::{net::Ipv4Addr, time::Duration};

use observastack_loader::{
    Rule,
    abi::{
        bandwidth::BandwidthRule,
        bind_error::BindErrorRule,
        connect_error::ConnectErrorRule,
        decision::{fate, threshold},
        latency::LatencyRule,
        mtu_blackhole::MtuBlackholeRule,
        packet::{Address, DIRECTION_IN, DIRECTION_OUT, PacketFilter},
        packet_loss::PacketLossRule,
        rule::{FLAG_BURST, FLAG_VERBOSE, RuleHead},
        signal::SignalRule,
        slow_receiver::SlowReceiverRule,
        syscall_error::SyscallErrorRule,
    },
    clock::monotonic_ns,
};

/// Errnos of Linux (`asm-generic/errno.h`).
pub(crate) mod errno {
    pub(crate) const OK: i32 = 0;
    pub(crate) const EIO: i32 = 5;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const EADDRINUSE: i32 = 98;
    pub(crate) const ENETUNREACH: i32 = 101;
    pub(crate) const ETIMEDOUT: i32 = 110;
    pub(crate) const ECONNREFUSED: i32 = 111;
    pub(crate) const EHOSTUNREACH: i32 = 113;
}

/// `getppid(2)`'s number on this architecture.
pub(crate) const SYS_GETPPID: u32 = if cfg!(target_arch = "x86_64") {
    110
} else {
    // Every architecture since (`asm-generic/unistd.h`).
    173
};

/// The signal that asks a process to end.
pub(crate) const SIGTERM: u32 = 15;

/// The address that clients talk to.
pub(crate) const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A rule to be armed: id 1, any packet that arrives, always, for a long time, unless told otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) head: RuleHead,
    pub(crate) filter: PacketFilter,
    pub(crate) probability: f64,
}

impl Plan {
    /// Faults every event.
    pub(crate) fn always() -> Self {
        Self::of(1.0, 0)
    }

    /// Faults events with this probability and seed.
    pub(crate) fn of(probability: f64, seed: u64) -> Self {
        Self {
            head: RuleHead {
                id: 1,
                end_ns: after(LONG),
                seed,
                threshold: threshold(probability),
                ..RuleHead::default()
            },
            filter: PacketFilter {
                direction: DIRECTION_IN,
                ..PacketFilter::default()
            },
            probability,
        }
    }

    /// Faults events in bursts.
    pub(crate) fn bursts(enter: f64, leave: f64, seed: u64) -> Self {
        let mut plan = Self::of(1.0, seed);
        plan.head.flags |= FLAG_BURST;
        plan.head.burst_enter = threshold(enter);
        plan.head.burst_leave = threshold(leave);
        plan
    }

    pub(crate) fn id(mut self, id: u64) -> Self {
        self.head.id = id;
        self
    }

    pub(crate) fn port(mut self, port: u16) -> Self {
        self.filter.port = port;
        self
    }

    pub(crate) fn protocol(mut self, protocol: u8) -> Self {
        self.filter.protocol = protocol;
        self
    }

    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.filter.flags = flags;
        self
    }

    pub(crate) fn peer(mut self, peer: Address, mask: Address) -> Self {
        (self.filter.peer, self.filter.peer_mask) = (peer, mask);
        self
    }

    /// About packets that leave, not about those that arrive.
    pub(crate) fn outward(self) -> Self {
        self.direction(DIRECTION_OUT)
    }

    pub(crate) fn direction(mut self, direction: u8) -> Self {
        self.filter.direction = direction;
        self
    }

    pub(crate) fn ending(mut self, end_ns: u64) -> Self {
        self.head.end_ns = end_ns;
        self
    }

    pub(crate) fn every(mut self, every: u32) -> Self {
        self.head.every = every;
        self
    }

    pub(crate) fn after_events(mut self, after: u64) -> Self {
        self.head.after = after;
        self
    }

    pub(crate) fn at_most(mut self, max: u64) -> Self {
        self.head.max = max;
        self
    }

    pub(crate) fn verbose(mut self) -> Self {
        self.head.flags |= FLAG_VERBOSE;
        self
    }

    /// The fate of this rule's event number `n`.
    pub(crate) fn faults(&self, n: u64) -> bool {
        fate(&self.head, n)
    }

    /// How many of the first `n` events are faulted.
    pub(crate) fn faulted_of(&self, n: u64) -> u64 {
        (0..n).filter(|n| self.faults(*n)).count() as u64
    }

    /// A rule of `packet-loss`.
    pub(crate) fn loss(self) -> Rule {
        Rule::PacketLoss(PacketLossRule {
            head: self.head,
            filter: self.filter,
        })
    }

    /// A rule of `mtu-blackhole`.
    pub(crate) fn mtu(self, mtu: u32) -> Rule {
        Rule::MtuBlackhole(MtuBlackholeRule {
            head: self.head,
            filter: self.filter,
            mtu,
            ..MtuBlackholeRule::default()
        })
    }

    /// A rule of `latency`.
    pub(crate) fn latency(self, delay: Duration, jitter: Duration, distribution: u8) -> Rule {
        Rule::Latency(LatencyRule {
            head: self.head,
            filter: self.filter,
            delay_ns: delay.as_nanos() as u64,
            jitter_ns: jitter.as_nanos() as u64,
            distribution,
            ..LatencyRule::default()
        })
    }

    /// A rule of `bandwidth`.
    pub(crate) fn bandwidth(self, bits_per_second: u64) -> Rule {
        Rule::Bandwidth(BandwidthRule {
            head: self.head,
            filter: self.filter,
            ns_per_kib: (1 << 13) * 1_000_000_000 / bits_per_second,
        })
    }

    /// A rule of `slow-receiver`.
    pub(crate) fn window(self, window: u16) -> Rule {
        Rule::SlowReceiver(SlowReceiverRule {
            head: self.head,
            filter: self.filter,
            window,
            ..SlowReceiverRule::default()
        })
    }

    /// A rule of `connect-error`.
    pub(crate) fn error(self, errno: i32) -> Rule {
        Rule::ConnectError(ConnectErrorRule {
            head: self.head,
            filter: self.filter,
            retval: -errno,
            ..ConnectErrorRule::default()
        })
    }

    /// A rule of `bind-error`.
    pub(crate) fn bind_error(self, errno: i32) -> Rule {
        Rule::BindError(BindErrorRule {
            head: self.head,
            filter: self.filter,
            retval: -errno,
            ..BindErrorRule::default()
        })
    }

    /// A rule of `signal`.
    pub(crate) fn signal(self, syscall: u32, signal: u32) -> Rule {
        Rule::Signal(SignalRule {
            head: self.head,
            syscall,
            signal,
        })
    }

    /// A rule of `syscall-error`.
    pub(crate) fn syscall(self, errno: i32, rule: SyscallErrorRule) -> Rule {
        Rule::SyscallError(SyscallErrorRule {
            head: self.head,
            retval: -errno,
            ..rule
        })
    }
}

/// A time from now, as rules and leases have it.
pub(crate) fn after(duration: Duration) -> u64 {
    monotonic_ns() + duration.as_nanos() as u64
}

/// The interval that holds a share of `n` events of probability `p` in 99 of 100 cases.
pub(crate) fn binomial_99(n: u64, p: f64) -> (f64, f64) {
    let mean = n as f64 * p;
    let margin = 2.576 * (mean * (1.0 - p)).sqrt();
    (mean - margin, mean + margin)
}
