//! What the injector's socket answers.

use serde::{Deserialize, Serialize};

use crate::{
    FieldError,
    fault::{FaultRequest, FaultSpec},
};

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
    /// A panic ended it with all others.
    Reverted,
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

/// The most faults in one set.
pub const MAX_SET: usize = 64;

/// Faults that begin together: all of them, or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// The faults, in the order in which they are injected; 1 to 64.
    pub faults: Vec<FaultRequest>,
}

impl SetRequest {
    /// Checks every fault and names all fields that are wrong, as `faults[2].port`. `draw_seed` gives the seeds of
    /// faults that have none.
    pub fn validate(
        self,
        mut draw_seed: impl FnMut() -> u64,
    ) -> Result<Vec<FaultSpec>, Vec<FieldError>> {
        let count = self.faults.len();
        if !(1..=MAX_SET).contains(&count) {
            let allowed = format!("1 to {MAX_SET} faults");
            return Err(vec![FieldError::new("faults", count, allowed)]);
        }
        let (mut specs, mut errors) = (Vec::new(), Vec::new());
        for (at, fault) in self.faults.into_iter().enumerate() {
            match fault.validate(draw_seed()) {
                Ok(spec) => specs.push(spec),
                Err(wrong) => errors.extend(wrong.into_iter().map(|error| FieldError {
                    field: format!("faults[{at}].{}", error.field),
                    ..error
                })),
            }
        }
        if errors.is_empty() {
            Ok(specs)
        } else {
            Err(errors)
        }
    }
}

/// What a fault would do, found out without doing it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// What was asked for, with every default and the seed.
    pub spec: FaultSpec,
    /// Whether this machine can do it.
    pub supported: Answer,
    /// Why not; empty where it can.
    pub reason: String,
    /// What would be done, step by step.
    pub steps: Vec<String>,
}

/// Whether new faults are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicStatus {
    /// Whether they are.
    pub panicked: bool,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: Option<u64>,
    /// Who asked for it.
    pub by_uid: Option<u32>,
    /// How many faults it ended.
    pub faults_ended: u64,
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
    /// A panic is in force: no new faults until it is lifted.
    Panicked,
    /// The injector failed.
    Internal,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Fault, faults::PacketLoss};

    #[test]
    fn a_set_names_the_fault_and_the_field() {
        let loss = |port| {
            let loss = PacketLoss {
                port: Some(port),
                ..PacketLoss::default()
            };
            FaultRequest::new("shop", Fault::PacketLoss(loss), Duration::from_secs(1))
        };
        let set = |faults| SetRequest { faults };
        let mut seeds = 1..;
        let specs = set(vec![loss(1), loss(2)]).validate(|| seeds.next().unwrap());
        let drawn: Vec<_> = specs.unwrap().iter().map(|spec| spec.seed).collect();
        assert_eq!(drawn, [1, 2]);
        let errors = set(vec![loss(1), loss(0)]).validate(|| 1).unwrap_err();
        assert_eq!(errors[0].field, "faults[1].port");
        for wrong in [vec![], vec![loss(1); MAX_SET + 1]] {
            assert_eq!(set(wrong).validate(|| 1).unwrap_err()[0].field, "faults");
        }
    }
}
