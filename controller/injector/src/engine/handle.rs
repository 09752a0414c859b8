//! How tasks speak to the engine's thread.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
};

use observastack_loader::{ArmError, FaultKind, Rule};
use observastack_spec::{
    api::{Decision, FaultList, FaultState, FaultStatus, PanicStatus},
    fault::FaultSpec,
};
use tokio::sync::{broadcast, oneshot};

use super::totals::Series;
use crate::host::actors::ActorCounts;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The unit has no cgroup below a target slice: it is stopped, elsewhere, or does not exist.
    #[error("`{0}` is not running in a target slice")]
    NotRunning(String),
    /// There is no active fault with this id.
    #[error("there is no active fault {0}")]
    NoSuchFault(u64),
    /// Somebody has panicked.
    #[error("new faults are refused since a panic; lift it with: observastack-ctl panic --lift")]
    Panicked,
    /// Nothing could be loaded into this kernel.
    #[error("this kernel cannot run the eBPF programs: {0}")]
    NotLoaded(String),
    /// The rule could not be armed.
    #[error(transparent)]
    Arm(#[from] ArmError),
    /// The panic could not be written down, or lifted.
    #[error("cannot {what} the panic file: {source}")]
    PanicFile {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The engine's thread has ended.
    #[error("the injector is shutting down")]
    Gone,
}

/// A fault that is about to begin: it has an id and a time, and nothing of it holds yet.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) id: u64,
    /// When it will end, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) end_ns: u64,
}

/// What of a fault the engine looks after from now on.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) begun: Begun,
    pub(crate) spec: FaultSpec,
    pub(crate) rule: Option<Rule>,
    /// What the hands keep up for it, with its counts; they are told to revert it in the end.
    pub(crate) by_hands: Option<Arc<ActorCounts>>,
}

/// A message to the engine's thread, with where the answer goes.
pub(crate) enum Message {
    Begin {
        unit: String,
        for_ms: u64,
        may_be_stopped: bool,
        reply: oneshot::Sender<Result<Begun, EngineError>>,
    },
    Hold {
        held: Box<Held>,
        reply: oneshot::Sender<Result<FaultStatus, EngineError>>,
    },
    End {
        id: u64,
        reply: oneshot::Sender<Result<FaultStatus, EngineError>>,
    },
    EndAll {
        state: FaultState,
        reply: oneshot::Sender<Vec<FaultStatus>>,
    },
    List {
        reply: oneshot::Sender<FaultList>,
    },
    Refusals {
        reply: oneshot::Sender<Refusals>,
    },
    Series {
        reply: oneshot::Sender<Vec<Series>>,
    },
    Panic {
        by_uid: u32,
        reply: oneshot::Sender<Result<(PanicStatus, Vec<FaultStatus>), EngineError>>,
    },
    LiftPanic {
        reply: oneshot::Sender<Result<PanicStatus, EngineError>>,
    },
    PanicStatus {
        reply: oneshot::Sender<PanicStatus>,
    },
}

/// What this kernel refused when the programs were loaded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    /// Why nothing could be loaded.
    pub(crate) all: Option<String>,
    /// Why single faults could not.
    pub(crate) faults: Vec<(FaultKind, String)>,
}

/// A handle on the engine's thread; cheap to clone. When all are dropped, the thread ends every fault and returns.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(super) messages: SyncSender<Message>,
    pub(super) decisions: broadcast::Sender<Decision>,
    /// When the thread last went through its loop, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) beat_ns: Arc<AtomicU64>,
    pub(super) cgroup_root: PathBuf,
    pub(super) slices: Vec<String>,
}

impl Engine {
    /// Where a unit's cgroup would be, in each target slice.
    pub(crate) fn unit_paths(&self, unit: &str) -> Vec<PathBuf> {
        observastack_loader::unit_paths(&self.cgroup_root, &self.slices, unit)
    }

    /// Gives a new fault its id and its time. `may_be_stopped` accepts a unit that has no cgroup now.
    pub(crate) async fn begin(
        &self,
        unit: &str,
        for_ms: u64,
        may_be_stopped: bool,
    ) -> Result<Begun, EngineError> {
        let unit = unit.to_owned();
        self.ask(|reply| Message::Begin {
            unit,
            for_ms,
            may_be_stopped,
            reply,
        })
        .await?
    }

    /// Arms a fault's rule and looks after it.
    pub(crate) async fn hold(&self, held: Held) -> Result<FaultStatus, EngineError> {
        let held = Box::new(held);
        self.ask(|reply| Message::Hold { held, reply }).await?
    }

    /// Ends a fault's rule and gives its last counts. What the hands keep up is for the caller to revert.
    pub(crate) async fn end(&self, id: u64) -> Result<FaultStatus, EngineError> {
        self.ask(|reply| Message::End { id, reply }).await?
    }

    /// Ends every rule.
    pub(crate) async fn end_all(&self, state: FaultState) -> Result<Vec<FaultStatus>, EngineError> {
        self.ask(|reply| Message::EndAll { state, reply }).await
    }

    /// Active and lately ended faults, newest first.
    pub(crate) async fn list(&self) -> Result<FaultList, EngineError> {
        self.ask(|reply| Message::List { reply }).await
    }

    /// What the kernel refused.
    pub(crate) async fn refusals(&self) -> Result<Refusals, EngineError> {
        self.ask(|reply| Message::Refusals { reply }).await
    }

    /// What all faults since the start have done, by fault and unit.
    pub(crate) async fn series(&self) -> Result<Vec<Series>, EngineError> {
        self.ask(|reply| Message::Series { reply }).await
    }

    /// Ends every rule, and refuses new faults until [`Self::lift_panic`]. Gives what it ended.
    pub(crate) async fn panic(
        &self,
        by_uid: u32,
    ) -> Result<(PanicStatus, Vec<FaultStatus>), EngineError> {
        self.ask(|reply| Message::Panic { by_uid, reply }).await?
    }

    /// Takes new faults again.
    pub(crate) async fn lift_panic(&self) -> Result<PanicStatus, EngineError> {
        self.ask(|reply| Message::LiftPanic { reply }).await?
    }

    /// Whether new faults are refused.
    pub(crate) async fn panic_status(&self) -> Result<PanicStatus, EngineError> {
        self.ask(|reply| Message::PanicStatus { reply }).await
    }

    /// Decisions of verbose rules from now on; a slow reader loses the oldest.
    pub(crate) fn decisions(&self) -> broadcast::Receiver<Decision> {
        self.decisions.subscribe()
    }

    /// How long ago the thread last went through its loop, in nanoseconds.
    pub(crate) fn beat_age_ns(&self) -> u64 {
        observastack_loader::clock::monotonic_ns()
            .saturating_sub(self.beat_ns.load(Ordering::Relaxed))
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        // The queue is far longer than the number of requests that the API serves at once, so this never blocks long.
        self.messages
            .try_send(message(reply))
            .map_err(|_| EngineError::Gone)?;
        answer.await.map_err(|_| EngineError::Gone)
    }
}
