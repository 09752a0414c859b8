//! From a fault that a user asked for to the rule that the kernel reads.

use std::time::Duration;

use observastack_abi::{
    connect_error::ConnectErrorRule,
    decision,
    packet_loss::PacketLossRule,
    rule::{FLAG_VERBOSE, RuleHead},
};
use observastack_loader::Rule;
use observastack_spec::fault::{Fault, FaultSpec};

/// The rule of fault number `id`, which holds from `now_ns` of `CLOCK_MONOTONIC`.
pub(crate) fn lower(id: u64, spec: &FaultSpec, now_ns: u64) -> Rule {
    let held_ns = u64::try_from(Duration::from_millis(spec.for_ms).as_nanos()).unwrap_or(u64::MAX);
    let head = RuleHead {
        id,
        end_ns: now_ns.saturating_add(held_ns),
        seed: spec.seed,
        threshold: decision::threshold(spec.probability),
        flags: if spec.verbose { FLAG_VERBOSE } else { 0 },
        _reserved: 0,
    };
    match spec.fault {
        Fault::PacketLoss { port } => Rule::PacketLoss(PacketLossRule {
            head,
            port: port.unwrap_or(0),
            _reserved: [0; 3],
        }),
        Fault::ConnectError { port, errno } => Rule::ConnectError(ConnectErrorRule {
            head,
            retval: -errno,
            port: port.unwrap_or(0),
            _reserved: 0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(fault: Fault) -> FaultSpec {
        FaultSpec {
            unit: "shop.service".into(),
            fault,
            for_ms: 2_000,
            probability: 0.5,
            seed: 9,
            verbose: true,
        }
    }

    #[test]
    fn a_loss_keeps_its_port_seed_and_end() {
        let rule = lower(3, &spec(Fault::PacketLoss { port: Some(8101) }), 1_000);
        let Rule::PacketLoss(rule) = rule else {
            panic!("{rule:?}")
        };
        assert_eq!(rule.port, 8101);
        assert_eq!(rule.head.end_ns, 2_000_001_000);
        assert_eq!(
            (rule.head.id, rule.head.seed, rule.head.flags),
            (3, 9, FLAG_VERBOSE)
        );
        assert_eq!(rule.head.threshold, 1 << 31);
    }

    #[test]
    fn an_errno_becomes_a_negative_return_value() {
        let rule = lower(
            1,
            &spec(Fault::ConnectError {
                port: None,
                errno: 111,
            }),
            0,
        );
        let Rule::ConnectError(rule) = rule else {
            panic!("{rule:?}")
        };
        assert_eq!((rule.retval, rule.port), (-111, 0));
    }
}
