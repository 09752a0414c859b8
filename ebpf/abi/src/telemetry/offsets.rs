//! Where the kernel's structures keep what the probes read, and what else differs between kernels.

/// A member that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// In bytes from each structure's start, [`MISSING`] where there is no such member; the loader takes them from the running kernel's BTF
/// and does not attach a probe that needs one that is missing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeOffsets {
    /// `struct sock::sk_cgrp_data.cgroup`.
    pub sock_cgroup: u32,
    /// `struct sock_common::skc_state`.
    pub sock_state: u32,
    /// `struct sock_common::skc_num`: the own port, in the host's byte order.
    pub sock_port: u32,
    /// `struct sock_common::skc_dport`: the peer's port, in the network's.
    pub sock_peer_port: u32,
    /// `struct sock_common::skc_family`.
    pub sock_family: u32,
    /// `struct sock_common::skc_rcv_saddr`: the own address, IPv4.
    pub sock_address: u32,
    /// `struct sock_common::skc_daddr`: the peer's.
    pub sock_peer_address: u32,
    /// `struct sock_common::skc_v6_rcv_saddr`.
    pub sock_address6: u32,
    /// `struct sock_common::skc_v6_daddr`.
    pub sock_peer_address6: u32,
    /// `struct tcp_sock::srtt_us`: eight times the smoothed round-trip time.
    pub tcp_srtt: u32,
    /// `struct sk_buff::sk`.
    pub skb_sock: u32,
    /// `struct sk_buff::head`.
    pub skb_head: u32,
    /// `struct sk_buff::network_header`, from the head.
    pub skb_network_header: u32,
    /// `struct bio::bi_bdev`.
    pub bio_device: u32,
    /// `struct bio::bi_opf`.
    pub bio_flags: u32,
    /// `struct bio::bi_iter.bi_size`.
    pub bio_bytes: u32,
    /// `struct bio::bi_next`.
    pub bio_next: u32,
    /// `struct request::bio`.
    pub request_bio: u32,
    /// `struct bio::bi_blkg`.
    pub bio_group: u32,
    /// `struct block_device::bd_dev`.
    pub device_number: u32,
    /// `struct blkcg_gq::blkcg`.
    pub group_owner: u32,
    /// `struct blkcg::css.cgroup`.
    pub owner_cgroup: u32,
    /// `struct task_struct::signal`.
    pub task_signal: u32,
    /// `struct task_struct::exit_code`.
    pub task_exit_code: u32,
    /// `struct task_struct::group_leader`.
    pub task_leader: u32,
    /// `struct task_struct::comm`.
    pub task_comm: u32,
    /// `struct signal_struct::live`: threads that have not ended.
    pub signal_live: u32,
    /// `struct signal_struct::oom_mm`: set where the kernel has chosen the process for want of memory.
    pub signal_oom: u32,
    /// A system call's first three arguments in `struct pt_regs`, where this architecture keeps them by name.
    pub call_arguments: [u32; 3],
    /// The position of `REQ_PREFLUSH` among a bio's flags.
    pub preflush_bit: u32,
    /// 1 where `kfree_skb` tells the receiving socket as its fourth argument (6.11).
    pub drop_has_socket: u32,
    /// Explicit padding.
    pub _reserved: u32,
}

const _: () = assert!(size_of::<ProbeOffsets>() == 136);

/// Nothing known.
pub const UNKNOWN: ProbeOffsets = ProbeOffsets {
    sock_cgroup: MISSING,
    sock_state: MISSING,
    sock_port: MISSING,
    sock_peer_port: MISSING,
    sock_family: MISSING,
    sock_address: MISSING,
    sock_peer_address: MISSING,
    sock_address6: MISSING,
    sock_peer_address6: MISSING,
    tcp_srtt: MISSING,
    skb_sock: MISSING,
    skb_head: MISSING,
    skb_network_header: MISSING,
    bio_device: MISSING,
    bio_flags: MISSING,
    bio_bytes: MISSING,
    bio_next: MISSING,
    request_bio: MISSING,
    bio_group: MISSING,
    device_number: MISSING,
    group_owner: MISSING,
    owner_cgroup: MISSING,
    task_signal: MISSING,
    task_exit_code: MISSING,
    task_leader: MISSING,
    task_comm: MISSING,
    signal_live: MISSING,
    signal_oom: MISSING,
    call_arguments: [MISSING; 3],
    preflush_bit: MISSING,
    drop_has_socket: 0,
    _reserved: 0,
};
