//! What each kernel must be able to do, and how long things may take there.

use std::time::Duration;

use observastack_loader::{
    FaultKind,
    capability::{Answer, names, needs},
};

/// A kernel that the tests know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kernel {
    /// Debian 13's stock kernel.
    #[value(name = "6.12")]
    V6_12,
    /// Debian 12's stock kernel: the oldest that is supported.
    #[value(name = "6.1")]
    V6_1,
    /// The development machine's own, which refuses LSM and tracing programs, and kprobes.
    Native,
}

impl Kernel {
    /// Every capability with the answer that this kernel must give.
    ///
    /// An answer that changes in either direction is a finding: a fault that silently stops being possible, or one
    /// that could be used here and isn't.
    pub(crate) fn capabilities(self) -> [(&'static str, Answer); 12] {
        let stock = match self {
            Self::V6_12 | Self::V6_1 => Answer::Yes,
            Self::Native => Answer::No,
        };
        [
            (names::KERNEL, Answer::Yes),
            (names::BTF, Answer::Yes),
            (names::CGROUP_V2, Answer::Yes),
            (names::CGROUP_SKB, Answer::Yes),
            (names::CGROUP_SOCK_ADDR, Answer::Yes),
            (names::SCHED_CLS, Answer::Yes),
            (names::FQ, stock),
            (names::RAW_TRACEPOINT, Answer::Yes),
            (names::RING_BUFFER, Answer::Yes),
            (names::BPF_LSM, stock),
            (names::TRACING, stock),
            (names::KPROBE, stock),
        ]
    }

    /// Whether a fault is expected to work here.
    pub(crate) fn can(self, kind: FaultKind) -> bool {
        let capabilities = self.capabilities();
        needs(kind).into_iter().all(|need| {
            capabilities
                .iter()
                .any(|(name, answer)| *name == need && *answer == Answer::Yes)
        })
    }

    /// Whether the programs of a fault load here; some need more than that to act.
    pub(crate) fn takes_programs_of(self, kind: FaultKind) -> bool {
        kind != FaultKind::SyscallError || self.can(kind)
    }

    /// How long to wait for something that must happen. Only a failing test takes this long.
    pub(crate) fn deadline(self) -> Duration {
        match self {
            Self::Native => Duration::from_secs(30),
            // Under software emulation everything takes 10 to 20 times as long.
            Self::V6_12 | Self::V6_1 => Duration::from_secs(150),
        }
    }

    /// How long a fault may outlive the process that holds it: the figure of issue 2, and a looser one where the
    /// machine is emulated and the process's end alone takes that long.
    pub(crate) fn gone_after_kill(self) -> Duration {
        match self {
            Self::Native => Duration::from_millis(100),
            Self::V6_12 | Self::V6_1 => Duration::from_secs(2),
        }
    }
}
