//! What is wrong, what a learner says is wrong, and how much of that is right.
//!
//! Everything is chosen from catalogues, so that it can be judged without reading words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, check::Share};

/// A catalogue: an enum whose names are those of the files, each with what it means.
macro_rules! catalogue {
    ($(#[$about:meta])* $name:ident { $($variant:ident = $text:literal: $meaning:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
        pub enum $name {
            $(#[doc = $meaning] #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it is written.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.name())
            }
        }
    };
}

catalogue! {
    /// Where it is wrong.
    Component {
        Nothing = "nothing": "nothing is wrong",
        Clients = "clients": "who asks: the load itself",
        Gateway = "gateway": "the gateway",
        Api = "api": "all API servers",
        Api1 = "api@1": "the first API server",
        Api2 = "api@2": "the second API server",
        Inventory = "inventory": "the inventory",
        Worker = "worker": "the worker of the queue",
        Postgresql = "postgresql": "the database",
        Host = "host": "the machine below all of them",
    }
}

catalogue! {
    /// How it makes itself felt.
    Mechanism {
        Nothing = "nothing": "nothing is wrong",
        Computation = "computation": "more CPU time for the same work",
        CpuThrottling = "cpu-throttling": "a quota takes the CPU away while the machine is idle",
        CpuContention = "cpu-contention": "somebody else has the CPU",
        WorkerSaturation = "worker-saturation": "all workers wait, and work queues behind them",
        PoolExhaustion = "pool-exhaustion": "no connection of a pool is free",
        ConnectionLimit = "connection-limit": "too few connections may be open",
        SlowQuery = "slow-query": "a statement reads far more rows than it needs",
        LockContention = "lock-contention": "statements wait for somebody's lock",
        RetryAmplification = "retry-amplification": "failures make more work, which makes more failures",
        PacketLoss = "packet-loss": "packets do not arrive",
        ConnectionRefused = "connection-refused": "connections are not made",
        NetworkLatency = "network-latency": "packets take long",
        MtuBlackhole = "mtu-blackhole": "large packets do not arrive, and nobody says so",
        PortExhaustion = "port-exhaustion": "no local port is free for a connection",
        DescriptorExhaustion = "descriptor-exhaustion": "no file descriptor is free",
        ProcessStalled = "process-stalled": "a process stands still for a while",
        AuthenticationFailure = "authentication-failure": "a password is not taken",
        ReadErrors = "read-errors": "reads fail",
        DiskLatency = "disk-latency": "writes take long to be safe",
        MemoryPressure = "memory-pressure": "memory is taken back, or its owner is killed",
    }
}

catalogue! {
    /// What brought it about.
    Cause {
        Nothing = "nothing": "nothing is wrong",
        Deploy = "deploy": "another version of a program",
        Configuration = "configuration": "a setting was changed",
        SchemaChange = "schema-change": "the database's structure was changed",
        SecretRotation = "secret-rotation": "a secret was changed in one place only",
        ForgottenSession = "forgotten-session": "a session or job that somebody has left behind",
        ResourceLimit = "resource-limit": "a limit on a unit",
        Neighbour = "neighbour": "somebody else's work on the same machine",
        Traffic = "traffic": "what clients send",
        Trigger = "trigger": "something that is over by now",
        Network = "network": "the path between two processes",
        Kernel = "kernel": "the system below a process fails some of its calls",
        Disk = "disk": "the disk below a file system",
    }
}

catalogue! {
    /// A signal that shows it. Those of the kernel begin with `kernel.`.
    Signal {
        Latency = "metrics.latency": "how long answers take",
        Errors = "metrics.errors": "how many answers are errors",
        Saturation = "metrics.saturation": "queues, pools, workers in use",
        Traffic = "metrics.traffic": "how many requests there are, retries apart",
        Instance = "metrics.instance": "one instance differs from the other",
        Logs = "logs": "what a service says",
        Trace = "traces": "which span of a trace takes the time or fails",
        Profile = "profile": "which functions use the CPU",
        ConfigDiff = "config": "what differs from a service's usual configuration",
        Statements = "database.statements": "which statements take the time",
        Locks = "database.locks": "who waits for whom",
        Connections = "database.connections": "sessions, and what they do",
        RunQueue = "kernel.run-queue": "how long tasks wait for a CPU, and for whom",
        Throttling = "kernel.cpu-throttling": "how long a quota takes the CPU away",
        OffCpu = "kernel.off-cpu": "what tasks sleep for",
        Syscalls = "kernel.syscalls": "system calls with their errors and times",
        Connect = "kernel.tcp-connect": "connections that are not made, or slowly",
        Rtt = "kernel.tcp-rtt": "round-trip times",
        Retransmits = "kernel.tcp-retransmits": "segments sent again",
        Resets = "kernel.tcp-resets": "resets",
        Drops = "kernel.packet-drops": "packets thrown away, and why",
        AcceptQueue = "kernel.accept-queue": "connections that nobody accepts",
        BlockIo = "kernel.block-io": "how long the disk takes",
        Reclaim = "kernel.memory": "reclaim, kills for want of memory",
        Exits = "kernel.exits": "processes that end, and how",
    }
}

impl Signal {
    /// Whether only the kernel tells it.
    #[must_use]
    pub fn is_kernels(self) -> bool {
        self.name().starts_with("kernel.")
    }
}

/// What is wrong: the right diagnosis, and what else earns something.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Answer {
    /// Where.
    pub component: Component,
    /// How.
    pub mechanism: Mechanism,
    /// Why.
    pub cause: Cause,
    /// Near misses.
    #[serde(default)]
    pub also: Vec<NearMiss>,
    /// Signals that show it, with the component that shows them. One of them is enough; none where nothing is wrong.
    pub evidence: At<Vec<Evidence>>,
}

/// Something that is not quite right.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NearMiss {
    /// Another component than the right one.
    #[serde(default)]
    pub component: Option<Component>,
    /// Another mechanism.
    #[serde(default)]
    pub mechanism: Option<Mechanism>,
    /// Another cause.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// Which share of that part's points it earns.
    pub credit: At<Share>,
}

/// A signal, and who shows it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Evidence {
    /// The signal.
    pub signal: Signal,
    /// Who shows it.
    pub of: Component,
}

/// What a learner says is wrong.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Diagnosis {
    /// Where.
    pub component: Component,
    /// How.
    pub mechanism: Mechanism,
    /// Why.
    pub cause: Cause,
    /// What shows it.
    pub evidence: Vec<Evidence>,
}

/// Points of each part of a diagnosis; a hundred together.
pub const POINTS: Points = Points {
    component: 30,
    mechanism: 30,
    cause: 20,
    evidence: 20,
};

/// More signals than this are guesses, and earn nothing.
pub const MOST_EVIDENCE: usize = 4;

/// Everything that a diagnosis is chosen from: the names of each kind, with what they mean.
#[must_use]
pub fn catalogue() -> [(&'static str, Vec<(&'static str, &'static str)>); 4] {
    fn of<T: Copy>(
        all: &[T],
        name: fn(T) -> &'static str,
        meaning: fn(T) -> &'static str,
    ) -> Vec<(&'static str, &'static str)> {
        all.iter().map(|one| (name(*one), meaning(*one))).collect()
    }
    [
        (
            "components",
            of(Component::ALL, Component::name, Component::meaning),
        ),
        (
            "mechanisms",
            of(Mechanism::ALL, Mechanism::name, Mechanism::meaning),
        ),
        ("causes", of(Cause::ALL, Cause::name, Cause::meaning)),
        ("signals", of(Signal::ALL, Signal::name, Signal::meaning)),
    ]
}

/// Points, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Points {
    /// For where.
    pub component: u32,
    /// For how.
    pub mechanism: u32,
    /// For why.
    pub cause: u32,
    /// For what shows it.
    pub evidence: u32,
}

impl Points {
    /// All together.
    #[must_use]
    pub const fn total(self) -> u32 {
        self.component + self.mechanism + self.cause + self.evidence
    }
}

/// What a diagnosis earns. In a kernel drill only the kernel's signals are evidence.
#[must_use]
pub fn grade(answer: &Answer, diagnosis: &Diagnosis, kernel: bool) -> Points {
    let part = |points: u32, right: bool, near: &dyn Fn(&NearMiss) -> bool| -> u32 {
        if right {
            return points;
        }
        let credit = answer
            .also
            .iter()
            .filter(|miss| near(miss))
            .map(|miss| miss.credit.get())
            .fold(0.0, f64::max);
        (f64::from(points) * credit).round() as u32
    };
    let said = &diagnosis.evidence;
    let shows = |evidence: &Evidence| {
        answer.evidence.contains(evidence) && (!kernel || evidence.signal.is_kernels())
    };
    // Nothing shows that nothing is wrong.
    let needs_none = answer.evidence.is_empty() && said.is_empty();
    let is_shown = said.len() <= MOST_EVIDENCE && said.iter().any(shows);
    Points {
        component: part(
            POINTS.component,
            diagnosis.component == answer.component,
            &|miss| miss.component == Some(diagnosis.component),
        ),
        mechanism: part(
            POINTS.mechanism,
            diagnosis.mechanism == answer.mechanism,
            &|miss| miss.mechanism == Some(diagnosis.mechanism),
        ),
        cause: part(POINTS.cause, diagnosis.cause == answer.cause, &|miss| {
            miss.cause == Some(diagnosis.cause)
        }),
        evidence: if needs_none || is_shown {
            POINTS.evidence
        } else {
            0
        },
    }
}
