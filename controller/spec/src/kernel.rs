//! What the observer's socket answers: kernel telemetry by unit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the observer listens.
pub const OBSERVER_SOCKET: &str = "/run/observastack/observer/observer.sock";

/// The name that everything has which belongs to no observed unit.
pub const OTHER_UNIT: &str = "other";

/// How the probes stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeList {
    /// Every probe, and every file of the kernel that is read beside them.
    pub probes: Vec<ProbeStatus>,
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Its name.
    pub name: String,
    /// What it tells.
    pub about: String,
    /// Whether it is on.
    pub on: bool,
    /// Whether it is on from the start.
    pub always_on: bool,
    /// Why this machine cannot do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What the kernel says of its programs.
    pub programs: Vec<ProgramRuns>,
}

/// How often a program ran, and for how long; both are 0 while `kernel.bpf_stats_enabled` is 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramRuns {
    /// Its name.
    pub name: String,
    /// How often.
    pub runs: u64,
    /// For how long in all, in nanoseconds.
    pub run_time_ns: u64,
}

/// Switches something on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Whether it is to be on.
    pub on: bool,
}

/// Everything that was counted since the observer began, by unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelReport {
    /// When it was read, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// By unit; [`OTHER_UNIT`] is everything else.
    pub units: BTreeMap<String, UnitReport>,
    /// What could not be kept.
    pub losses: BTreeMap<String, u64>,
}

/// One unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitReport {
    /// Waits for a CPU.
    pub run_queue: Times,
    /// Which units' tasks came when one of this unit's had to go.
    pub preempted_by: BTreeMap<String, u64>,
    /// TCP connections being made.
    pub tcp_connect: Times,
    /// Connections that were asked for and not made.
    pub tcp_connect_failures: u64,
    /// Smoothed round-trip times.
    pub tcp_rtt: Times,
    /// Segments sent again.
    pub tcp_retransmits: u64,
    /// Resets sent.
    pub tcp_resets_sent: u64,
    /// Resets received.
    pub tcp_resets_received: u64,
    /// Packets that the kernel threw away, by reason.
    pub packet_drops: BTreeMap<String, u64>,
    /// Its listening sockets.
    pub listeners: Vec<ListenerReport>,
    /// Block I/O.
    pub block_io: Vec<BlockIoReport>,
    /// Page faults in user mode.
    pub page_faults: u64,
    /// Reclaiming memory.
    pub reclaim: Times,
    /// Programs executed.
    pub execs: u64,
    /// Processes that have ended.
    pub exits: u64,
    /// Those of them that a signal has ended.
    pub exits_by_signal: u64,
    /// Those of them that were killed for want of memory.
    pub oom_kills: u64,
    /// What its cgroup's own files say; `None` while it has no cgroup.
    pub cgroup: Option<CgroupReport>,
    /// System calls, where they were asked for.
    pub syscalls: Vec<SyscallReport>,
    /// Sleeps, where they were asked for.
    #[serde(default)]
    pub off_cpu: Vec<OffCpuReport>,
}

/// What a unit's cgroup says of itself, since the observer began; a figure is `None` where the kernel has no controller for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CgroupReport {
    /// CPU time, in microseconds.
    pub cpu_usage_us: u64,
    /// Periods in which its quota was used up.
    pub throttled_periods: Option<u64>,
    /// How long it had to stand still for that, in microseconds.
    pub throttled_us: Option<u64>,
    /// Page faults that read from a device.
    pub major_page_faults: Option<u64>,
    /// Memory now, in bytes.
    pub memory_bytes: Option<u64>,
    /// Its own limit, if it has one.
    pub memory_limit_bytes: Option<u64>,
    /// Kills for want of memory, as the memory controller counts them.
    pub memory_oom_kills: Option<u64>,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerReport {
    /// Its port.
    pub port: u16,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// How many may wait.
    pub limit: u32,
    /// Connections thrown away since the observer began.
    pub drops: u64,
}

/// Block I/O of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockIoReport {
    /// The device's name, or its number where it has none.
    pub device: String,
    /// `read`, `write`, `flush`, `discard` or `other`.
    pub operation: String,
    /// How long it took.
    pub times: Times,
}

/// System calls of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SyscallReport {
    /// The call's name, or its number where it has none here.
    pub name: String,
    /// How long it took.
    pub times: Times,
    /// How many failed, by errno.
    pub errors: BTreeMap<String, u64>,
}

/// Sleeps of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OffCpuReport {
    /// The system call that the task was in; `none` for a page fault and the like.
    pub cause: String,
    /// Whether no signal would have woken it: block I/O, or a lock of the kernel's own.
    pub uninterruptible: bool,
    /// How long until it was woken.
    pub times: Times,
}

/// Durations by powers of two: bucket 0 ends at 1.024 µs, each further one at twice that, and the last has no end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// Durations in each bucket.
    pub buckets: Vec<u64>,
    /// The sum of all, in nanoseconds.
    pub sum_ns: u64,
}

impl Times {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().chain(std::iter::repeat(&0));
        let buckets = self.buckets.iter().zip(before);
        Self {
            buckets: buckets
                .map(|(now, before)| now.saturating_sub(*before))
                .collect(),
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
        }
    }

    /// The end of the bucket that holds the q-th part of all, in nanoseconds; `None` where there is none.
    #[must_use]
    pub fn quantile_ns(&self, q: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((count as f64 * q).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for (bucket, inside) in self.buckets.iter().enumerate() {
            seen += inside;
            if *inside > 0 && seen >= rank {
                return Some(1 << (10 + bucket.min(53)));
            }
        }
        None
    }
}

/// Something rare, on the stream of events: one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelEvent {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The unit.
    pub unit: String,
    /// What happened.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happened {
    /// A program was executed.
    Exec {
        /// The process, as the machine's first pid namespace has it.
        pid: u32,
        /// The task's name.
        comm: String,
    },
    /// A process has ended.
    Exit {
        /// The process.
        pid: u32,
        /// The task's name.
        comm: String,
        /// What it returned, where it ended by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// The signal, where that ended it.
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<String>,
    },
    /// A process was killed for want of memory.
    OomKill {
        /// The process.
        pid: u32,
        /// The task's name.
        comm: String,
    },
    /// A TCP reset was sent.
    ResetSent {
        /// The own port.
        local_port: u16,
        /// The peer's.
        remote_port: u16,
    },
    /// A TCP reset was received.
    ResetReceived {
        /// The own port.
        local_port: u16,
        /// The peer's.
        remote_port: u16,
    },
}

/// What of a unit can be traced, event by event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Traceable {
    /// Its system calls.
    Syscalls,
    /// Its TCP sockets: states, segments sent again, resets.
    Tcp,
    /// Its tasks' stays on a CPU, and the waits before them.
    Sched,
}

impl Traceable {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Syscalls, Self::Tcp, Self::Sched];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscalls => "syscalls",
            Self::Tcp => "tcp",
            Self::Sched => "sched",
        }
    }
}

/// One event of a traced unit, on its stream: one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// When, in microseconds since 1970.
    pub at_unix_us: u64,
    /// The unit.
    pub unit: String,
    /// What happened.
    #[serde(flatten)]
    pub what: Traced,
}

/// A task, as the machine's first pid namespace has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The thread's name.
    pub comm: String,
}

/// What happened to a traced unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Traced {
    /// A system call has ended.
    Syscall {
        /// Whose.
        #[serde(flatten)]
        task: Task,
        /// Its name, or its number where it has none here.
        name: String,
        /// Its first arguments, where this architecture tells them.
        arguments: [u64; 3],
        /// What it returned.
        returned: i64,
        /// The errno, where it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        /// How long it took.
        duration_ns: u64,
    },
    /// A TCP socket has another state.
    TcpState {
        /// The state before.
        from: String,
        /// The state now.
        to: String,
        /// The own address and port.
        local: String,
        /// The peer's.
        remote: String,
    },
    /// A segment was sent again.
    TcpRetransmit {
        /// The own address and port.
        local: String,
        /// The peer's.
        remote: String,
    },
    /// A reset was sent.
    TcpResetSent {
        /// The own address and port.
        local: String,
        /// The peer's.
        remote: String,
    },
    /// A reset was received.
    TcpResetReceived {
        /// The own address and port.
        local: String,
        /// The peer's.
        remote: String,
    },
    /// A task has left its CPU.
    Sched {
        /// Which.
        #[serde(flatten)]
        task: Task,
        /// How long it ran.
        ran_ns: u64,
        /// How long it had waited for the CPU before, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        waited_ns: Option<u64>,
        /// Whether it could have gone on.
        preempted: bool,
    },
}

impl Traced {
    /// What it is a part of.
    #[must_use]
    pub const fn traceable(&self) -> Traceable {
        match self {
            Self::Syscall { .. } => Traceable::Syscalls,
            Self::Sched { .. } => Traceable::Sched,
            Self::TcpState { .. }
            | Self::TcpRetransmit { .. }
            | Self::TcpResetSent { .. }
            | Self::TcpResetReceived { .. } => Traceable::Tcp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_end_of_its_bucket() {
        let times = Times {
            buckets: vec![0, 98, 0, 2],
            sum_ns: 0,
        };
        assert_eq!(times.quantile_ns(0.5), Some(2048));
        assert_eq!(times.quantile_ns(0.98), Some(2048));
        assert_eq!(times.quantile_ns(0.99), Some(8192));
        assert_eq!(Times::default().quantile_ns(0.5), None);
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let early = Times {
            buckets: vec![1, 2],
            sum_ns: 10,
        };
        let late = Times {
            buckets: vec![1, 5, 1],
            sum_ns: 30,
        };
        let since = late.since(&early);
        assert_eq!((since.buckets, since.sum_ns), (vec![0, 3, 1], 20));
        // A restart in between: nothing, and not a huge number.
        assert_eq!(early.since(&late).count(), 0);
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let event = KernelEvent {
            at_unix_ms: 1,
            unit: "a.service".into(),
            what: Happened::Exit {
                pid: 7,
                comm: "a".into(),
                code: Some(3),
                signal: None,
            },
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            r#"{"at_unix_ms":1,"unit":"a.service","event":"exit","pid":7,"comm":"a","code":3}"#
        );
        assert_eq!(serde_json::from_str::<KernelEvent>(&text).unwrap(), event);
    }
}
