//! Rules as the tests arm them, and the fates that they predict.

use std::{net::Ipv4Addr, time::Duration};

use observastack_loader::{
    Rule,
    abi::{
        connect_error::ConnectErrorRule,
        decision::{is_faulted, threshold},
        packet_loss::PacketLossRule,
        rule::{FLAG_VERBOSE, RuleHead},
    },
    clock::monotonic_ns,
};

/// Errnos of Linux (`asm-generic/errno.h`).
pub(crate) mod errno {
    pub(crate) const OK: i32 = 0;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const ENETUNREACH: i32 = 101;
    pub(crate) const ETIMEDOUT: i32 = 110;
    pub(crate) const ECONNREFUSED: i32 = 111;
    pub(crate) const EHOSTUNREACH: i32 = 113;
}

/// The address that clients talk to.
pub(crate) const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Longer than any test.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A rule to be armed: id 1, any port, always, for a long time, unless told otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) id: u64,
    pub(crate) seed: u64,
    pub(crate) probability: f64,
    pub(crate) port: u16,
    pub(crate) end_ns: u64,
    pub(crate) verbose: bool,
}

impl Plan {
    /// Faults every event.
    pub(crate) fn always() -> Self {
        Self::of(1.0, 0)
    }

    /// Faults events with this probability and seed.
    pub(crate) fn of(probability: f64, seed: u64) -> Self {
        Self {
            id: 1,
            seed,
            probability,
            port: 0,
            end_ns: after(LONG),
            verbose: false,
        }
    }

    pub(crate) fn id(self, id: u64) -> Self {
        Self { id, ..self }
    }

    pub(crate) fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    pub(crate) fn ending(self, end_ns: u64) -> Self {
        Self { end_ns, ..self }
    }

    pub(crate) fn verbose(self) -> Self {
        Self {
            verbose: true,
            ..self
        }
    }

    /// The fate of this rule's event number `n`.
    pub(crate) fn faults(&self, n: u64) -> bool {
        is_faulted(self.seed, n, threshold(self.probability))
    }

    /// A rule of `packet-loss`.
    pub(crate) fn loss(self) -> Rule {
        Rule::PacketLoss(PacketLossRule {
            head: self.head(),
            port: self.port,
            ..PacketLossRule::default()
        })
    }

    /// A rule of `connect-error`.
    pub(crate) fn error(self, errno: i32) -> Rule {
        Rule::ConnectError(ConnectErrorRule {
            head: self.head(),
            retval: -errno,
            port: self.port,
            ..ConnectErrorRule::default()
        })
    }

    fn head(&self) -> RuleHead {
        RuleHead {
            id: self.id,
            end_ns: self.end_ns,
            seed: self.seed,
            threshold: threshold(self.probability),
            flags: if self.verbose { FLAG_VERBOSE } else { 0 },
            ..RuleHead::default()
        }
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
