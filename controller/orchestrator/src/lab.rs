//! What a run needs of the lab.

use std::{collections::BTreeMap, future::Future};

use observastack_spec::{
    drill::score::Impact,
    fault::FaultRequest,
    scenario::{
        action::{Config, FileState, KnownFile, Load, Rate},
        check::Check,
        sealed::Shortcut,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The lab could not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct LabError {
    /// What it was to do.
    pub what: String,
    /// Why it could not.
    pub reason: String,
}

/// Something that a reset does not take back by itself: it is kept in the store before it is done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "kebab-case")]
pub enum Undo {
    /// Statements.
    Sql {
        /// Which do no harm where there is nothing to take back.
        statements: String,
    },
    /// A file goes back to its healthy state.
    File {
        /// Which.
        file: KnownFile,
    },
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whether it holds.
    pub holds: bool,
    /// What there was.
    pub found: String,
}

/// The lab, as a run sees it. Every call ends in bounded time.
pub trait Lab: Send + Sync {
    /// What this machine lacks of these capabilities and faults, by their names, each with its reason.
    fn lacks(
        &self,
        capabilities: &[&str],
        faults: &[&str],
    ) -> impl Future<Output = Result<Vec<String>, LabError>> + Send;
    /// MiB of memory that this machine has.
    fn memory_mib(&self) -> impl Future<Output = Result<u64, LabError>> + Send;
    /// Begins a load, instead of one that may run.
    fn begin_load(&self, load: &Load) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Changes its rate.
    fn set_rate(&self, rate: &Rate) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Ends it.
    fn stop_load(&self) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Changes a service's configuration.
    fn configure(&self, config: &Config) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Restarts a unit, by its short name.
    fn restart(&self, unit: &str) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Injects a fault; its id.
    fn inject(&self, fault: FaultRequest) -> impl Future<Output = Result<u64, LabError>> + Send;
    /// Clears a fault.
    fn clear(&self, id: u64) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Runs statements; `hold` keeps their session until the reset.
    fn sql(
        &self,
        statements: &str,
        hold: bool,
    ) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Brings a file into a state.
    fn file(&self, state: &FileState) -> impl Future<Output = Result<(), LabError>> + Send;
    /// Looks at one check. `faults` has the ids of the run's faults by their names.
    fn check(
        &self,
        check: &Check,
        faults: &BTreeMap<String, u64>,
    ) -> impl Future<Output = Result<Found, LabError>> + Send;
    /// Ids of the faults that are in force.
    fn in_force(&self) -> impl Future<Output = Result<Vec<u64>, LabError>> + Send;
    /// What is usual in this lab, and how the load was asked for: what shortcuts are seen by. Kept with the run, for a controller that begins anew.
    fn usual(&self) -> Value;
    /// The same, as an earlier controller has kept it.
    fn recall(&self, usual: &Value);
    /// What users went through since the load began.
    fn impact(&self) -> impl Future<Output = Result<Impact, LabError>> + Send;
    /// Shortcuts that are taken now, and how they were noticed. What does not answer is not looked at: that is a unit's that does not run.
    fn shortcuts(&self) -> impl Future<Output = Result<Vec<(Shortcut, String)>, LabError>> + Send;
    /// What is not as it has to be in the shop's data, in words: orders that are lost, halved, or without goods.
    fn broken_invariants(&self) -> impl Future<Output = Result<Vec<String>, LabError>> + Send;
    /// Ends every fault, session and load, takes back what is given, gives every service its usual configuration, starts what does not run, and
    /// verifies all of it. Done twice it does no harm.
    fn reset(&self, undo: &[Undo]) -> impl Future<Output = Result<(), LabError>> + Send;
}
