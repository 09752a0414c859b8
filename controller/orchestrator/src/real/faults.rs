//! The injector.

use std::path::PathBuf;

use hyper::Method;
use observastack_spec::{
    api::{FaultList, FaultState, FaultStatus},
    fault::FaultRequest,
};

use super::{failed, http};
use crate::lab::LabError;

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

    pub(super) async fn clear(&self, id: u64) -> Result<(), LabError> {
        self.delete(&format!("/faults/{id}")).await
    }

    pub(super) async fn clear_all(&self) -> Result<(), LabError> {
        self.delete("/faults").await
    }

    /// Takes new faults again, if somebody has refused them.
    pub(super) async fn lift_panic(&self) -> Result<(), LabError> {
        self.delete("/panic").await
    }

    async fn delete(&self, path: &str) -> Result<(), LabError> {
        let kind = "application/json";
        let answer = http::ask(&self.0, Method::DELETE, path, kind, Vec::new()).await?;
        answer.ok("clear faults")
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

    /// How often a fault has acted.
    pub(super) async fn acted(&self, id: u64) -> Result<u64, LabError> {
        let path = format!("/faults/{id}");
        let status: FaultStatus = http::get(&self.0, &path).await?.json("a fault")?;
        Ok(status.counts.injected)
    }
}
