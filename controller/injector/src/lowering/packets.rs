//! Faults of packets.

use observastack_abi::{
    bandwidth::BandwidthRule,
    jitter,
    latency::LatencyRule,
    mtu_blackhole::MtuBlackholeRule,
    packet::{DIRECTION_IN, DIRECTION_OUT, FILTER_SYN_ONLY, PacketFilter, TCP},
    packet_loss::PacketLossRule,
    rule::RuleHead,
    slow_receiver::SlowReceiverRule,
};
use observastack_loader::Rule;
use observastack_spec::{
    Cidr, Direction, Distribution, FieldError, Protocol,
    faults::{Bandwidth, Blackhole, Latency, MtuBlackhole, PacketLoss, SlowReceiver},
};

use super::{
    LowerError, Plan,
    rules::{filter, in_bursts},
};
use crate::{
    facts::Facts,
    host::{Clsact, Fq, change::Change},
};

const LOOPBACK: &str = "lo";

fn bits(direction: Direction) -> u8 {
    match direction {
        Direction::In => DIRECTION_IN,
        Direction::Out => DIRECTION_OUT,
        Direction::Both => DIRECTION_IN | DIRECTION_OUT,
    }
}

fn condition(
    direction: Direction,
    protocol: Option<Protocol>,
    port: Option<u16>,
    peer: Option<Cidr>,
) -> PacketFilter {
    PacketFilter {
        direction: bits(direction),
        ..filter(protocol, port, peer)
    }
}

/// A rule of packets that leave acts at the interfaces, which some kernels need a qdisc for.
fn at_interfaces(rule: Rule, filter: &PacketFilter, facts: &Facts) -> Plan {
    let mut plan = Plan::of(rule);
    if filter.direction & DIRECTION_OUT != 0 && facts.needs_clsact {
        let devices = facts.interfaces.iter();
        let clsact = devices.map(|dev| Change::Clsact(Clsact { dev: dev.clone() }));
        plan.changes = clsact.collect();
    }
    plan
}

pub(super) fn packet_loss(head: RuleHead, fault: &PacketLoss, facts: &Facts) -> Plan {
    let mut filter = condition(fault.direction, fault.protocol, fault.port, fault.peer);
    if fault.syn_only {
        (filter.protocol, filter.flags) = (TCP, FILTER_SYN_ONLY);
    }
    let head = in_bursts(head, fault.burst);
    at_interfaces(
        Rule::PacketLoss(PacketLossRule { head, filter }),
        &filter,
        facts,
    )
}

pub(super) fn blackhole(head: RuleHead, fault: &Blackhole, facts: &Facts) -> Plan {
    let filter = condition(fault.direction, fault.protocol, fault.port, fault.peer);
    at_interfaces(
        Rule::PacketLoss(PacketLossRule { head, filter }),
        &filter,
        facts,
    )
}

pub(super) fn mtu_blackhole(head: RuleHead, fault: &MtuBlackhole, facts: &Facts) -> Plan {
    let filter = condition(fault.direction, fault.protocol, fault.port, fault.peer);
    let rule = Rule::MtuBlackhole(MtuBlackholeRule {
        head,
        filter,
        mtu: fault.mtu,
        _reserved: 0,
    });
    at_interfaces(rule, &filter, facts)
}

pub(super) fn slow_receiver(head: RuleHead, fault: &SlowReceiver, facts: &Facts) -> Plan {
    let filter = condition(Direction::Out, Some(Protocol::Tcp), fault.port, fault.peer);
    let rule = Rule::SlowReceiver(SlowReceiverRule {
        head,
        filter,
        window: window(fault.window.get(), facts.window_scale),
        _reserved: [0; 3],
    });
    at_interfaces(rule, &filter, facts)
}

/// A window in bytes as it stands in the header: never 0 unless 0 was asked for.
fn window(bytes: u64, scale: u32) -> u16 {
    if bytes == 0 {
        return 0;
    }
    u16::try_from(bytes >> scale).unwrap_or(u16::MAX).max(1)
}

pub(super) fn latency(head: RuleHead, fault: &Latency, facts: &Facts) -> Result<Plan, LowerError> {
    let filter = condition(fault.direction, fault.protocol, fault.port, fault.peer);
    let rule = Rule::Latency(LatencyRule {
        head,
        filter,
        delay_ns: nanoseconds(fault.delay.get()),
        jitter_ns: fault.jitter.map_or(0, |jitter| nanoseconds(jitter.get())),
        distribution: match fault.distribution {
            Distribution::Uniform => jitter::UNIFORM,
            Distribution::Normal => jitter::NORMAL,
            Distribution::Pareto => jitter::PARETO,
        },
        _reserved: [0; 7],
    });
    in_queues(rule, fault.direction, fault.peer, facts)
}

pub(super) fn bandwidth(
    head: RuleHead,
    fault: &Bandwidth,
    facts: &Facts,
) -> Result<Plan, LowerError> {
    const BITS_PER_KIB: u64 = 1 << 13;
    let filter = condition(fault.direction, fault.protocol, fault.port, fault.peer);
    let rule = Rule::Bandwidth(BandwidthRule {
        head,
        filter,
        ns_per_kib: BITS_PER_KIB * 1_000_000_000 / fault.rate.bits_per_second().max(1),
    });
    in_queues(rule, fault.direction, fault.peer, facts)
}

/// A rule that sets packets' departure times needs `fq` wherever those packets leave.
fn in_queues(
    rule: Rule,
    direction: Direction,
    peer: Option<Cidr>,
    facts: &Facts,
) -> Result<Plan, LowerError> {
    let is_local = peer.is_some_and(|peer| facts.is_local(peer.network(), peer.prefix()));
    if direction != Direction::Out
        && let Some(peer) = peer
        && !is_local
    {
        return Err(FieldError::new(
            "peer",
            peer,
            "an address of this machine, or none, with --direction in or both: a packet waits where it leaves, so those of \
             other machines cannot be made to wait here (use --direction out)",
        )
        .into());
    }
    let mut plan = Plan::of(rule);
    // Packets between processes of this machine leave through the loopback device, whatever their addresses.
    let devices: Vec<String> = if direction == Direction::In || is_local {
        vec![LOOPBACK.to_owned()]
    } else {
        facts.interfaces.clone()
    };
    let fq = devices.into_iter().map(|dev| Change::Fq(Fq { dev }));
    plan.changes = fq.collect();
    Ok(plan)
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_window_is_not_rounded_to_none() {
        assert_eq!(window(0, 7), 0);
        assert_eq!(window(100, 7), 1);
        assert_eq!(window(64 << 10, 7), 512);
        assert_eq!(window(1 << 30, 0), u16::MAX);
    }
}
