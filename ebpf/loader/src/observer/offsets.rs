//! Where the running kernel keeps what the probes read, and which probes cannot be because it is not there.

use std::collections::BTreeMap;

use btf_rs::{Btf, Type};
use observastack_abi::telemetry::offsets::{MISSING, ProbeOffsets};

use super::Probe;
use crate::offsets::{OffsetError, member_offset};

/// What a kernel's BTF tells.
pub(super) struct Found {
    pub(super) offsets: ProbeOffsets,
    /// What a probe needs and this kernel has not.
    pub(super) missing: BTreeMap<Probe, String>,
    /// Names of `enum skb_drop_reason`, lower case and without their common beginning.
    pub(super) drop_reasons: BTreeMap<u32, String>,
}

/// Reads everything that the probes need.
pub(super) fn read(btf: &Btf) -> Found {
    use Probe::{
        BlockIo, PacketDrop, Process, TcpConnect, TcpReset, TcpRetransmit, TcpRtt, TraceTcp,
    };
    const SOCKETS: &[Probe] = &[
        TcpConnect,
        TcpRtt,
        TcpRetransmit,
        TcpReset,
        PacketDrop,
        TraceTcp,
    ];
    let mut missing = BTreeMap::new();
    let mut note = |probes: &[Probe], found: Result<u32, OffsetError>| match found {
        Ok(offset) => offset,
        Err(error) => {
            for probe in probes {
                missing.entry(*probe).or_insert_with(|| error.to_string());
            }
            MISSING
        }
    };
    let offset = |structure, member| member_offset(btf, structure, member);
    let inside = |outer: (&'static str, &'static str), inner: (&'static str, &'static str)| {
        Ok(offset(outer.0, outer.1)? + offset(inner.0, inner.1)?)
    };
    let offsets = ProbeOffsets {
        sock_cgroup: note(
            SOCKETS,
            inside(("sock", "sk_cgrp_data"), ("sock_cgroup_data", "cgroup")),
        ),
        sock_state: note(SOCKETS, offset("sock_common", "skc_state")),
        sock_port: note(&[TcpReset, TraceTcp], offset("sock_common", "skc_num")),
        sock_peer_port: note(&[TcpReset, TraceTcp], offset("sock_common", "skc_dport")),
        sock_family: note(&[TraceTcp], offset("sock_common", "skc_family")),
        sock_address: note(&[TraceTcp], offset("sock_common", "skc_rcv_saddr")),
        sock_peer_address: note(&[TraceTcp], offset("sock_common", "skc_daddr")),
        // Kernels without IPv6 have none.
        sock_address6: note(&[], offset("sock_common", "skc_v6_rcv_saddr")),
        sock_peer_address6: note(&[], offset("sock_common", "skc_v6_daddr")),
        tcp_srtt: note(&[TcpRtt], offset("tcp_sock", "srtt_us")),
        skb_sock: note(&[PacketDrop], offset("sk_buff", "sk")),
        skb_head: note(&[PacketDrop], offset("sk_buff", "head")),
        skb_network_header: note(&[PacketDrop], offset("sk_buff", "network_header")),
        bio_device: note(&[BlockIo], offset("bio", "bi_bdev")),
        bio_flags: note(&[BlockIo], offset("bio", "bi_opf")),
        bio_bytes: note(
            &[BlockIo],
            inside(("bio", "bi_iter"), ("bvec_iter", "bi_size")),
        ),
        bio_next: note(&[BlockIo], offset("bio", "bi_next")),
        request_bio: note(&[BlockIo], offset("request", "bio")),
        // Kernels without CONFIG_BLK_CGROUP have none: whoever submits is asked alone.
        bio_group: note(&[], offset("bio", "bi_blkg")),
        device_number: note(&[BlockIo], offset("block_device", "bd_dev")),
        group_owner: note(&[], offset("blkcg_gq", "blkcg")),
        owner_cgroup: note(
            &[],
            inside(("blkcg", "css"), ("cgroup_subsys_state", "cgroup")),
        ),
        task_signal: note(&[Process], offset("task_struct", "signal")),
        task_exit_code: note(&[Process], offset("task_struct", "exit_code")),
        task_leader: note(&[Process], offset("task_struct", "group_leader")),
        task_comm: note(&[Process], offset("task_struct", "comm")),
        signal_live: note(&[Process], offset("signal_struct", "live")),
        signal_oom: note(&[Process], offset("signal_struct", "oom_mm")),
        // Of x86; others have an array, and their calls are told without arguments.
        call_arguments: ["di", "si", "dx"].map(|name| note(&[], offset("pt_regs", name))),
        preflush_bit: enum_values(btf, "req_flag_bits")
            .into_iter()
            .find(|(_, name)| name == "__REQ_PREFLUSH")
            .map_or(MISSING, |(bit, _)| bit),
        drop_has_socket: u32::from(tracepoint_arguments(btf, "kfree_skb") >= Some(4)),
        _reserved: 0,
    };
    Found {
        offsets,
        missing,
        drop_reasons: drop_reasons(btf),
    }
}

fn drop_reasons(btf: &Btf) -> BTreeMap<u32, String> {
    enum_values(btf, "skb_drop_reason")
        .into_iter()
        .map(|(value, name)| {
            let name = name
                .strip_prefix("SKB_DROP_REASON_")
                .or_else(|| name.strip_prefix("SKB_"))
                .unwrap_or(&name);
            (value, name.to_ascii_lowercase())
        })
        .collect()
}

fn enum_values(btf: &Btf, name: &str) -> Vec<(u32, String)> {
    let types = btf.resolve_types_by_name(name).unwrap_or_default();
    let found = types.iter().find_map(|candidate| match candidate {
        Type::Enum(definition) => Some(definition),
        _ => None,
    });
    let members = found.into_iter().flat_map(|found| &found.members);
    members
        .filter_map(|member| Some((member.val(), btf.resolve_name(member).ok()?)))
        .collect()
}

/// How many arguments a raw tracepoint has. Each one has a type `btf_trace_NAME`, a pointer to a function whose first parameter is the
/// kernel's own.
fn tracepoint_arguments(btf: &Btf, tracepoint: &str) -> Option<usize> {
    let types = btf
        .resolve_types_by_name(&format!("btf_trace_{tracepoint}"))
        .ok()?;
    let Type::Typedef(alias) = types.first()? else {
        return None;
    };
    let Type::Ptr(pointer) = btf.resolve_chained_type(alias).ok()? else {
        return None;
    };
    let Type::FuncProto(function) = btf.resolve_chained_type(&pointer).ok()? else {
        return None;
    };
    function.parameters.len().checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::open_kernel;

    #[test]
    fn the_running_kernel_has_all_that_the_probes_need() {
        let btf = open_kernel().unwrap();
        let found = read(&btf);
        assert_eq!(found.missing, BTreeMap::new());
        assert_ne!(found.offsets.skb_sock, found.offsets.skb_head);
        assert_ne!(found.offsets.preflush_bit, MISSING);
        assert_eq!(tracepoint_arguments(&btf, "sched_switch"), Some(4));
        assert_eq!(tracepoint_arguments(&btf, "no_such_tracepoint"), None);
    }

    #[test]
    fn reasons_have_the_kernels_own_names() {
        let reasons = drop_reasons(&open_kernel().unwrap());
        for name in ["no_socket", "not_specified", "socket_filter", "tcp_csum"] {
            assert!(
                reasons.values().any(|reason| reason == name),
                "no {name} in {reasons:?}"
            );
        }
    }
}
