//! The probes: their names and programs.

/// What can be switched on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// Waits for a CPU, and preemptions.
    RunQueue,
    /// TCP connections that are made, and those that are not.
    TcpConnect,
    /// TCP round-trip times.
    TcpRtt,
    /// TCP segments sent again.
    TcpRetransmit,
    /// TCP resets.
    TcpReset,
    /// Packets thrown away, by reason.
    PacketDrop,
    /// Block I/O.
    BlockIo,
    /// Page faults.
    PageFault,
    /// Memory that tasks have to free themselves.
    Reclaim,
    /// Programs executed, processes ended.
    Process,
    /// System calls of chosen units.
    Syscalls,
    /// TCP of chosen units, event by event.
    TraceTcp,
}

impl Probe {
    /// Every probe.
    pub const ALL: [Self; 12] = [
        Self::RunQueue,
        Self::TcpConnect,
        Self::TcpRtt,
        Self::TcpRetransmit,
        Self::TcpReset,
        Self::PacketDrop,
        Self::BlockIo,
        Self::PageFault,
        Self::Reclaim,
        Self::Process,
        Self::Syscalls,
        Self::TraceTcp,
    ];

    /// As people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunQueue => "run-queue",
            Self::TcpConnect => "tcp-connect",
            Self::TcpRtt => "tcp-rtt",
            Self::TcpRetransmit => "tcp-retransmit",
            Self::TcpReset => "tcp-reset",
            Self::PacketDrop => "packet-drop",
            Self::BlockIo => "block-io",
            Self::PageFault => "page-fault",
            Self::Reclaim => "reclaim",
            Self::Process => "process",
            Self::Syscalls => "syscalls",
            Self::TraceTcp => "trace-tcp",
        }
    }

    /// What it tells.
    pub const fn about(self) -> &'static str {
        match self {
            Self::RunQueue => "waits for a CPU, and which unit preempted which",
            Self::TcpConnect => "how long TCP connections take to be made, and how many are not",
            Self::TcpRtt => "smoothed round-trip times",
            Self::TcpRetransmit => "TCP segments sent again",
            Self::TcpReset => "TCP resets, sent and received",
            Self::PacketDrop => "packets that the kernel throws away, by reason",
            Self::BlockIo => "how long block I/O takes, by device and operation",
            Self::PageFault => "page faults in user mode",
            Self::Reclaim => "how long tasks have to free memory themselves",
            Self::Process => "programs executed, processes ended and why, kills for want of memory",
            Self::Syscalls => "system calls of chosen units, with errno and latency",
            Self::TraceTcp => "TCP of chosen units, event by event",
        }
    }

    /// The probe of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|probe| probe.name() == name)
    }

    /// Whether it is cheap enough to be on all the time.
    pub const fn is_always_on(self) -> bool {
        !matches!(self, Self::Syscalls | Self::TraceTcp)
    }

    /// Its programs, each with the raw tracepoint that it is attached to.
    pub const fn programs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::RunQueue => &[
                ("sched_wakeup", "sched_wakeup"),
                ("sched_wakeup_new", "sched_wakeup_new"),
                ("sched_switch", "sched_switch"),
            ],
            Self::TcpConnect => &[("inet_sock_set_state", "inet_sock_set_state")],
            Self::TcpRtt => &[("tcp_probe", "tcp_probe")],
            Self::TcpRetransmit => &[("tcp_retransmit_skb", "tcp_retransmit_skb")],
            Self::TcpReset => &[
                ("tcp_send_reset", "tcp_send_reset"),
                ("tcp_receive_reset", "tcp_receive_reset"),
            ],
            Self::PacketDrop => &[("kfree_skb", "kfree_skb")],
            Self::BlockIo => &[
                ("block_bio_complete", "block_bio_complete"),
                ("block_rq_complete", "block_rq_complete"),
                ("block_bio_queue", "block_bio_queue"),
            ],
            Self::PageFault => &[("page_fault_user", "page_fault_user")],
            Self::Reclaim => &[
                ("direct_reclaim_begin", "mm_vmscan_direct_reclaim_begin"),
                ("direct_reclaim_end", "mm_vmscan_direct_reclaim_end"),
                ("memcg_reclaim_begin", "mm_vmscan_memcg_reclaim_begin"),
                ("memcg_reclaim_end", "mm_vmscan_memcg_reclaim_end"),
            ],
            Self::Process => &[
                ("sched_process_exec", "sched_process_exec"),
                ("sched_process_exit", "sched_process_exit"),
            ],
            Self::Syscalls => &[("sys_exit", "sys_exit"), ("sys_enter", "sys_enter")],
            Self::TraceTcp => &[
                ("trace_tcp_state", "inet_sock_set_state"),
                ("trace_tcp_retransmit", "tcp_retransmit_skb"),
                ("trace_tcp_send_reset", "tcp_send_reset"),
                ("trace_tcp_receive_reset", "tcp_receive_reset"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_found_by_its_name() {
        for probe in Probe::ALL {
            assert_eq!(Probe::named(probe.name()), Some(probe));
        }
        assert_eq!(Probe::named("run_queue"), None);
    }
}
