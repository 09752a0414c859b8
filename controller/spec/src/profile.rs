//! Profiles that the observer takes of a unit: which stacks its tasks were seen in.

use serde::{Deserialize, Serialize};

/// What a function of the kernel's ends in.
pub const KERNEL_MARK: &str = " [k]";

/// What stacks are taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileOf {
    /// Tasks on a CPU, sampled by a timer.
    #[default]
    Cpu,
    /// Tasks that sleep: each sleep, from when its task leaves the CPU until it is woken.
    OffCpu,
}

impl ProfileOf {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OffCpu => "off-cpu",
        }
    }

    /// What Pyroscope and the collector call such a profile. Not `process_cpu`: that is what a service tells of itself, and the same time is not
    /// counted twice.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "kernel_cpu",
            Self::OffCpu => "kernel_off_cpu",
        }
    }
}

/// A profile of one unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileReport {
    /// The unit.
    pub unit: String,
    /// What its stacks are of.
    pub of: ProfileOf,
    /// When it began, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// For how long it was looked at.
    pub seconds: f64,
    /// How often a second each CPU was looked at, for [`ProfileOf::Cpu`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub frequency_hz: Option<u64>,
    /// Every different stack.
    pub stacks: Vec<StackReport>,
    /// What is not as good as it could be, in words.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

/// One stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackReport {
    /// Functions, the outermost first; those of the kernel end in [`KERNEL_MARK`], and what has no name is in brackets.
    pub frames: Vec<String>,
    /// How often it was seen.
    pub count: u64,
    /// How long tasks were there, all together: of a CPU's samples, what they stand for.
    pub time_ns: u64,
}
