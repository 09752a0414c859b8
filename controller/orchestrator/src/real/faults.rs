//! The injector.

use std::path::PathBuf;

use hyper::{Method, StatusCode};
use observastack_spec::{
    api::{Answer, CapabilityReport, FaultList, FaultState, FaultStatus},
    fault::FaultRequest,
};

use super::{failed, http};
use crate::lab::LabError;

/// What is done, in words.
const CLEAR: &str = "clear faults";

/// The injector.
#[derive(Debug)]
pub(super) struct Injector(http::Place);

impl Injector {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self(http::Place::Socket(socket))
    }

    pub(super) async fn inject(&self, fault: &FaultRequest) -> Result<u64, LabError> {
        let what = "inject a fault";
        let body = serde_json::to_vec(fault).map_err(|error| failed(what, error))?;
        let answer = http::ask(&self.0, Method::POST, "/faults", "application/json", body).await?;
        let status: FaultStatus = answer.json(what)?;
        Ok(status.id)
    }

    /// Ends a fault. One that has ended by itself has nothing to be ended.
    pub(super) async fn clear(&self, id: u64) -> Result<(), LabError> {
        let answer = self.delete(&format!("/faults/{id}")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        answer.ok(CLEAR)
    }

    pub(super) async fn clear_all(&self) -> Result<(), LabError> {
        self.delete("/faults").await?.ok(CLEAR)
    }

    /// Takes new faults again, if somebody has refused them.
    pub(super) async fn lift_panic(&self) -> Result<(), LabError> {
        self.delete("/panic").await?.ok(CLEAR)
    }

    async fn delete(&self, path: &str) -> Result<http::Answer, LabError> {
        let kind = "application/json";
        http::ask(&self.0, Method::DELETE, path, kind, Vec::new()).await
    }

    /// Ids of the faults that are in force.
    pub(super) async fn active(&self) -> Result<Vec<u64>, LabError> {
        let list: FaultList = http::get(&self.0, "/faults").await?.json("faults")?;
        let active = list
            .faults
            .iter()
            .filter(|fault| fault.state == FaultState::Active);
        Ok(active.map(|fault| fault.id).collect())
    }

    /// What this machine lacks of what is needed, in the injector's words.
    pub(super) async fn lacks(
        &self,
        capabilities: &[&str],
        faults: &[&str],
    ) -> Result<Vec<String>, LabError> {
        let report: CapabilityReport = http::get(&self.0, "/capabilities")
            .await?
            .json("the machine's capabilities")?;
        Ok(lacks(&report, capabilities, faults))
    }

    /// How often a fault has acted.
    pub(super) async fn acted(&self, id: u64) -> Result<u64, LabError> {
        let path = format!("/faults/{id}");
        let status: FaultStatus = http::get(&self.0, &path).await?.json("a fault")?;
        Ok(status.counts.injected)
    }
}

/// What is not there, or not known. A fault that may work is tried: that it acts is verified.
fn lacks(report: &CapabilityReport, capabilities: &[&str], faults: &[&str]) -> Vec<String> {
    let mut lacks = Vec::new();
    for name in capabilities {
        match report.capabilities.iter().find(|one| one.name == *name) {
            Some(one) if one.answer == Answer::Yes => {}
            Some(one) => lacks.push(format!("{name}: {}", one.reason)),
            None => lacks.push(format!(
                "{name}: `observastack-ctl doctor` knows no such capability"
            )),
        }
    }
    for name in faults {
        let found = report.faults.iter().find(|one| one.fault == *name);
        if let Some(one) = found
            && one.answer == Answer::No
        {
            lacks.push(format!("{name}: {}", one.reason));
        }
    }
    lacks.sort_unstable();
    lacks.dedup();
    lacks
}

#[cfg(test)]
mod tests {
    use observastack_spec::api::{Capability, FaultSupport};

    use super::*;

    #[test]
    fn what_is_not_there_is_told_with_its_reason() {
        let capability = |name: &str, answer| Capability {
            name: name.to_owned(),
            answer,
            reason: "of a reason".to_owned(),
        };
        let fault = |fault: &str, answer| FaultSupport {
            fault: fault.to_owned(),
            answer,
            needs: Vec::new(),
            reason: "fq: not there".to_owned(),
        };
        let report = CapabilityReport {
            kernel: "6.12".to_owned(),
            version: "1".to_owned(),
            capabilities: vec![
                capability("a", Answer::Yes),
                capability("b", Answer::No),
                capability("c", Answer::Unknown),
            ],
            faults: vec![
                fault("latency", Answer::No),
                fault("freeze", Answer::Unknown),
            ],
        };
        assert_eq!(lacks(&report, &["a"], &["freeze"]), Vec::<String>::new());
        assert_eq!(
            lacks(&report, &["a", "b", "c", "d"], &["latency", "latency"]),
            [
                "b: of a reason",
                "c: of a reason",
                "d: `observastack-ctl doctor` knows no such capability",
                "latency: fq: not there",
            ]
        );
    }
}
