use std::time::Duration;

use observastack_abi::{
    packet::{Address, DIRECTION_IN, DIRECTION_OUT, FILTER_SYN_ONLY, TCP},
    rule::{FLAG_BURST, FLAG_VERBOSE},
    syscall_error::{call, family, kind},
};
use observastack_spec::fault::FaultRequest;

use super::*;
use crate::facts::Inode;

const TERM: Term = Term {
    id: 3,
    end_ns: 2_000_001_000,
};

fn facts() -> Facts {
    Facts {
        cgroups: vec!["/nonexistent/observastack-sut.slice/shop.service".into()],
        interfaces: vec!["eth0".to_owned(), "lo".to_owned()],
        needs_clsact: false,
        addresses: vec!["192.0.2.7".parse().unwrap()],
        window_scale: 7,
        path: None,
        volume: None,
        binary: "/nonexistent/injector".into(),
    }
}

fn spec(fault: &str) -> FaultSpec {
    let fault: Fault = serde_json::from_str(fault).unwrap();
    let request = FaultRequest::new("shop", fault, Duration::from_secs(2));
    request.validate(9).unwrap()
}

fn plan(fault: &str) -> Plan {
    lower(TERM, &spec(fault), &facts()).unwrap()
}

#[test]
fn a_loss_keeps_its_filter_and_what_chooses_its_events() {
    let mut spec =
        spec(r#"{"kind":"packet-loss","port":8101,"peer":"10.0.0.0/8","direction":"in"}"#);
    (
        spec.probability,
        spec.every,
        spec.after,
        spec.max,
        spec.verbose,
    ) = (0.5, 3, 4, Some(5), true);
    let plan = lower(TERM, &spec, &facts()).unwrap();
    let Some(Rule::PacketLoss(rule)) = plan.rule else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (rule.head.id, rule.head.end_ns, rule.head.seed),
        (3, TERM.end_ns, 9)
    );
    assert_eq!((rule.head.every, rule.head.after, rule.head.max), (3, 4, 5));
    assert_eq!(
        (rule.head.threshold, rule.head.flags),
        (1 << 31, FLAG_VERBOSE)
    );
    assert_eq!(
        (rule.filter.port, rule.filter.direction),
        (8101, DIRECTION_IN)
    );
    assert!(rule.filter.is_peer(&Address::v4(0x0a01_0203)));
    assert!(!rule.filter.is_peer(&Address::v4(0x0b01_0203)));
    assert!(plan.changes.is_empty() && plan.actor.is_none());
}

#[test]
fn bursts_and_syn_only_are_flags_of_the_rule() {
    let plan = plan(r#"{"kind":"packet-loss","burst":"1%,25%","syn_only":true}"#);
    let Some(Rule::PacketLoss(rule)) = plan.rule else {
        panic!("{plan:?}")
    };
    assert_eq!(rule.head.flags, FLAG_BURST);
    assert_eq!(rule.head.burst_leave, 1 << 30);
    assert_eq!(
        (rule.filter.protocol, rule.filter.flags),
        (TCP, FILTER_SYN_ONLY)
    );
    assert_eq!(rule.filter.direction, DIRECTION_IN | DIRECTION_OUT);
}

#[test]
fn packets_out_need_clsact_where_there_is_no_tcx() {
    let old = Facts {
        needs_clsact: true,
        ..facts()
    };
    let both = lower(TERM, &spec(r#"{"kind":"blackhole"}"#), &old).unwrap();
    assert_eq!(both.changes.len(), 2);
    let inward = lower(
        TERM,
        &spec(r#"{"kind":"blackhole","direction":"in"}"#),
        &old,
    )
    .unwrap();
    assert!(inward.changes.is_empty());
    assert!(plan(r#"{"kind":"blackhole"}"#).changes.is_empty());
}

#[test]
fn a_delay_needs_fq_where_its_packets_leave() {
    let devices = |fault: &str| -> Vec<String> {
        let changes = plan(fault).changes;
        changes
            .into_iter()
            .map(|change| match change {
                Change::Fq(fq) => fq.dev,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    assert_eq!(
        devices(r#"{"kind":"latency","delay":"20ms"}"#),
        ["eth0", "lo"]
    );
    assert_eq!(
        devices(r#"{"kind":"latency","delay":"20ms","direction":"in"}"#),
        ["lo"]
    );
    assert_eq!(
        devices(r#"{"kind":"latency","delay":"20ms","peer":"127.0.0.1"}"#),
        ["lo"]
    );
    assert_eq!(
        devices(r#"{"kind":"bandwidth","rate":"1mbit","peer":"192.0.2.7"}"#),
        ["lo"]
    );
}

#[test]
fn packets_of_other_machines_cannot_be_delayed_on_their_way_in() {
    let spec = spec(r#"{"kind":"latency","delay":"20ms","direction":"in","peer":"198.51.100.1"}"#);
    let error = lower(TERM, &spec, &facts()).unwrap_err().to_string();
    assert!(
        error.contains("peer") && error.contains("--direction out"),
        "{error}"
    );
}

#[test]
fn a_rate_becomes_the_time_of_a_kibibyte() {
    let plan = plan(r#"{"kind":"bandwidth","rate":"8mbit"}"#);
    let Some(Rule::Bandwidth(rule)) = plan.rule else {
        panic!("{plan:?}")
    };
    assert_eq!(rule.ns_per_kib, 1_024_000);
}

#[test]
fn an_errno_becomes_a_negative_return_value() {
    let plan = plan(r#"{"kind":"connect-error","errno":"ECONNREFUSED"}"#);
    let Some(Rule::ConnectError(rule)) = plan.rule else {
        panic!("{plan:?}")
    };
    assert_eq!((rule.retval, rule.filter.port), (-111, 0));
}

#[test]
fn files_never_mean_pipes_by_accident() {
    let with_path = Facts {
        path: Some(Inode {
            number: 12,
            device: 34,
        }),
        ..facts()
    };
    let spec =
        spec(r#"{"kind":"syscall-error","calls":["open","read"],"errno":"EIO","path":"/srv"}"#);
    let plan = lower(TERM, &spec, &with_path).unwrap();
    let Some(Rule::SyscallError(rule)) = plan.rule else {
        panic!("{plan:?}")
    };
    assert_eq!((rule.calls, rule.retval), (call::OPEN | call::READ, -5));
    assert_eq!((rule.data_kinds, rule.kinds), (kind::REGULAR, 0));
    assert_eq!((rule.path_inode, rule.path_device), (12, 34));
    assert_eq!(rule.families, family::INET);
}

#[test]
fn a_unit_may_be_frozen_in_pulses() {
    let pulsed = plan(r#"{"kind":"freeze","period":"1s","frozen":"30%"}"#);
    assert!(matches!(&pulsed.changes[..], [Change::Freeze(freeze)] if freeze.pulsed));
    let Some(Actor::FreezePulses(pulses)) = pulsed.actor else {
        panic!("{:?}", pulsed.actor)
    };
    assert_eq!(pulses.frozen, Duration::from_millis(300));
    let whole = plan(r#"{"kind":"freeze"}"#);
    assert!(matches!(&whole.changes[..], [Change::Freeze(freeze)] if !freeze.pulsed));
    assert!(whole.actor.is_none());
}

#[test]
fn a_disk_fault_without_a_volume_says_how_to_get_one() {
    for fault in [
        r#"{"kind":"disk-delay","write":"1s"}"#,
        r#"{"kind":"disk-error"}"#,
        r#"{"kind":"disk-fill"}"#,
    ] {
        let error = lower(TERM, &spec(fault), &facts()).unwrap_err().to_string();
        assert!(error.contains("observastack_data_volume"), "{error}");
    }
}

#[test]
fn every_step_of_a_plan_is_told() {
    let steps = plan(r#"{"kind":"latency","delay":"20ms","direction":"in"}"#).steps();
    assert!(steps[0].contains("timer"), "{steps:?}");
    assert!(
        steps
            .iter()
            .any(|step| step.contains("change=fq") && step.contains("dev=lo")),
        "{steps:?}"
    );
    assert!(
        steps.iter().any(|step| step.contains("packet_time_in")),
        "{steps:?}"
    );
}
