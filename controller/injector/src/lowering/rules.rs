//! What every rule has, and the rules that are about calls.

use std::net::IpAddr;

use observastack_abi::{
    bind_error::BindErrorRule,
    connect_error::ConnectErrorRule,
    decision::threshold,
    packet::{Address, PacketFilter, TCP, UDP},
    rule::{FLAG_BURST, FLAG_VERBOSE, RuleHead},
    signal::SignalRule,
};
use observastack_loader::Rule;
use observastack_spec::{
    Burst, Cidr, Protocol,
    fault::FaultSpec,
    faults::{BindError, ConnectError, SignalFault},
};

use super::{Plan, Term};

/// The start of a fault's rule.
pub(super) fn head(term: Term, spec: &FaultSpec) -> RuleHead {
    RuleHead {
        id: term.id,
        end_ns: term.end_ns,
        seed: spec.seed,
        threshold: threshold(spec.probability),
        after: spec.after,
        max: spec.max.unwrap_or(0),
        every: spec.every,
        flags: if spec.verbose { FLAG_VERBOSE } else { 0 },
        ..RuleHead::default()
    }
}

/// The same with events in bursts.
pub(super) fn in_bursts(head: RuleHead, burst: Option<Burst>) -> RuleHead {
    match burst {
        None => head,
        Some(burst) => RuleHead {
            burst_enter: threshold(burst.enter),
            burst_leave: threshold(burst.leave),
            flags: head.flags | FLAG_BURST,
            ..head
        },
    }
}

/// A condition on addresses, whatever the direction.
pub(super) fn filter(
    protocol: Option<Protocol>,
    port: Option<u16>,
    peer: Option<Cidr>,
) -> PacketFilter {
    let (peer, peer_mask) = peer.map_or_else(Default::default, network);
    PacketFilter {
        peer,
        peer_mask,
        port: port.unwrap_or(0),
        protocol: match protocol {
            None => 0,
            Some(Protocol::Tcp) => TCP,
            Some(Protocol::Udp) => UDP,
        },
        ..PacketFilter::default()
    }
}

/// A network as address and mask; IPv4 lies in the last 32 bits.
fn network(cidr: Cidr) -> (Address, Address) {
    let (address, bits) = match cidr.network() {
        IpAddr::V4(address) => (Address::v4(address.into()), 96 + u32::from(cidr.prefix())),
        IpAddr::V6(address) => (Address::v6(address.octets()), u32::from(cidr.prefix())),
    };
    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    (address, Address::v6(mask.to_be_bytes()))
}

pub(super) fn connect_error(head: RuleHead, fault: &ConnectError) -> Plan {
    Plan::of(Rule::ConnectError(ConnectErrorRule {
        head,
        filter: filter(fault.protocol, fault.port, fault.peer),
        retval: -fault.errno.number(),
        _reserved: 0,
    }))
}

pub(super) fn bind_error(head: RuleHead, fault: &BindError) -> Plan {
    Plan::of(Rule::BindError(BindErrorRule {
        head,
        filter: filter(fault.protocol, fault.port, None),
        retval: -fault.errno.number(),
        _reserved: 0,
    }))
}

pub(super) fn signal(head: RuleHead, fault: &SignalFault) -> Plan {
    Plan::of(Rule::Signal(SignalRule {
        head,
        // Both come from tables of this architecture.
        syscall: u32::try_from(fault.call.number()).unwrap_or(u32::MAX),
        signal: fault.signal.number().unsigned_abs(),
    }))
}
