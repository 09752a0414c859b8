//! `scenario.yaml`: what a learner may know before and during a drill.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;

/// What a learner may know.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Brief {
    /// The drill's name: small letters, digits and hyphens. The folder has the same.
    pub id: At<String>,
    /// Raised with every change that makes scores incomparable.
    pub version: At<u32>,
    /// The title of a list's line. It must not tell what is wrong.
    pub title: At<String>,
    /// How bad it is for users.
    pub severity: Severity,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Where the trouble is, as far as a learner may know.
    pub topic: Topic,
    /// How long a learner has, in minutes.
    pub minutes: At<u32>,
    /// What one can do afterwards.
    pub objectives: At<Vec<String>>,
    /// Drills that one should have passed before.
    #[serde(default)]
    pub prerequisites: Vec<At<String>>,
    /// What this machine must have.
    #[serde(default)]
    pub needs: Needs,
    /// Whether a diagnosis needs something that only the kernel's signals show.
    #[serde(default)]
    pub kernel: bool,
    /// What the one who is on call is told.
    pub briefing: At<String>,
}

/// What a machine must have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Needs {
    /// Capabilities of the kernel, as `observastack-ctl doctor` names them.
    #[serde(default)]
    pub capabilities: Vec<At<String>>,
    /// MiB of memory, as `MemTotal` in /proc/meminfo counts them: some less than what was built in.
    #[serde(default)]
    pub memory_mib: u32,
}

/// How bad it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nobody can use the shop.
    Sev1,
    /// Many requests fail or are slow.
    Sev2,
    /// Some are.
    Sev3,
    /// Users notice nothing yet.
    Sev4,
}

/// How hard it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// One signal tells.
    Beginner,
    /// Several have to be put together.
    Intermediate,
    /// The first explanation is wrong, or the application shows nothing.
    Advanced,
}

/// Where the trouble is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// In a service's own code.
    Application,
    /// In what a service was told.
    Configuration,
    /// In front of the services.
    Proxy,
    /// In the database.
    Database,
    /// More work than can be done.
    Overload,
    /// Between processes.
    Network,
    /// CPU and memory.
    Compute,
    /// Disks and system calls.
    Storage,
    /// Not told.
    Unknown,
}
