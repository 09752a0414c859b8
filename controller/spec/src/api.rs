//! What the injector's socket answers.

use serde::{Deserialize, Serialize};

use crate::{FieldError, fault::FaultSpec};

/// Where the injector listens.
pub const INJECTOR_SOCKET: &str = "/run/observastack/injector/injector.sock";

/// A fault with what it has done so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultStatus {
    /// The fault's id, from 1, unique while the injector runs.
    pub id: u64,
    /// What was asked for.
    #[serde(flatten)]
    pub spec: FaultSpec,
    /// Whether it acts, and if not, why it ended.
    pub state: FaultState,
    /// When it was injected, in milliseconds since 1970.
    pub since_unix_ms: u64,
    /// How long it still holds, in milliseconds.
    pub remaining_ms: u64,
    /// The kernel's own counts.
    pub counts: Counts,
}

/// Whether a fault acts, and if not, why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultState {
    /// It acts.
    Active,
    /// Its end time has come.
    Expired,
    /// Somebody cleared it.
    Cleared,
}

/// The kernel's own counts of a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events that it covered.
    pub matched: u64,
    /// Events that it faulted.
    pub injected: u64,
    /// Events that it would have covered while the lease had lapsed.
    pub skipped: u64,
}

/// The answer to a list of faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultList {
    /// Active faults, and the last ones that have ended, newest first.
    pub faults: Vec<FaultStatus>,
}

/// One decision of a verbose rule, a line of the decision stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The fault's id.
    pub fault: u64,
    /// `packet` or `connect`.
    pub event: String,
    /// The event's number under its rule, from 0.
    pub n: u64,
    /// The port that it was matched by, 0 for none.
    pub port: u16,
    /// Whether the event was faulted.
    pub faulted: bool,
}

/// What the kernel and so the injector can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityReport {
    /// The running kernel's release.
    pub kernel: String,
    /// The injector's version.
    pub version: String,
    /// What the kernel can do.
    pub capabilities: Vec<Capability>,
    /// Which faults work here.
    pub faults: Vec<FaultSupport>,
}

/// Something that a kernel can do or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Its name.
    pub name: String,
    /// The answer.
    pub answer: Answer,
    /// Why, and where it can't, how to get it.
    pub reason: String,
}

/// Whether a fault works on this kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSupport {
    /// The fault's name.
    pub fault: String,
    /// The answer.
    pub answer: Answer,
    /// The capabilities that it needs.
    pub needs: Vec<String>,
    /// Why it doesn't work; empty where it does.
    pub reason: String,
}

/// One of three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It works.
    Yes,
    /// It doesn't.
    No,
    /// It could not be found out.
    Unknown,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub error: String,
    /// What kind of failure it is, for programs.
    pub code: ErrorCode,
    /// The fields that were refused, if any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldError>,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The request is not what the API takes.
    BadRequest,
    /// A field is out of range, or its unit is protected.
    Invalid,
    /// The caller is neither root nor in the group `observastack`.
    Forbidden,
    /// There is no such unit, or it is not in a target slice.
    UnknownUnit,
    /// There is no such fault or path.
    NotFound,
    /// The kernel can't do it.
    Unsupported,
    /// It can't be done now: too many faults, or no slice.
    Conflict,
    /// The injector failed.
    Internal,
}
