//! How tasks speak to the engine's thread.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc::SyncSender,
};

use observastack_loader::{ArmError, FaultKind};
use observastack_spec::{
    api::{Decision, FaultList, FaultStatus},
    fault::FaultSpec,
};
use tokio::sync::{broadcast, oneshot};

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The unit has no cgroup below a target slice: it is stopped, elsewhere, or does not exist.
    #[error("`{0}` is not running in a target slice")]
    NotRunning(String),
    /// There is no active fault with this id.
    #[error("there is no active fault {0}")]
    NoSuchFault(u64),
    /// Nothing could be loaded into this kernel.
    #[error("this kernel cannot run the eBPF programs: {0}")]
    NotLoaded(String),
    /// The rule could not be armed.
    #[error(transparent)]
    Arm(#[from] ArmError),
    /// The engine's thread has ended.
    #[error("the injector is shutting down")]
    Gone,
}

/// A message to the engine's thread, with where the answer goes.
pub(crate) enum Message {
    Inject {
        spec: FaultSpec,
        may_be_stopped: bool,
        reply: oneshot::Sender<Result<FaultStatus, EngineError>>,
    },
    Clear {
        id: u64,
        reply: oneshot::Sender<Result<FaultStatus, EngineError>>,
    },
    ClearAll {
        reply: oneshot::Sender<Vec<FaultStatus>>,
    },
    List {
        reply: oneshot::Sender<FaultList>,
    },
    Refusals {
        reply: oneshot::Sender<Refusals>,
    },
}

/// What the kernel refused when the programs were loaded.
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
}

impl Engine {
    /// Starts a fault. `may_be_stopped` accepts a unit that has no cgroup now.
    pub(crate) async fn inject(
        &self,
        spec: FaultSpec,
        may_be_stopped: bool,
    ) -> Result<FaultStatus, EngineError> {
        self.ask(|reply| Message::Inject {
            spec,
            may_be_stopped,
            reply,
        })
        .await?
    }

    /// Ends a fault and gives its last counts.
    pub(crate) async fn clear(&self, id: u64) -> Result<FaultStatus, EngineError> {
        self.ask(|reply| Message::Clear { id, reply }).await?
    }

    /// Ends every fault.
    pub(crate) async fn clear_all(&self) -> Result<Vec<FaultStatus>, EngineError> {
        self.ask(|reply| Message::ClearAll { reply }).await
    }

    /// Active and lately ended faults, newest first.
    pub(crate) async fn list(&self) -> Result<FaultList, EngineError> {
        self.ask(|reply| Message::List { reply }).await
    }

    /// What the kernel refused.
    pub(crate) async fn refusals(&self) -> Result<Refusals, EngineError> {
        self.ask(|reply| Message::Refusals { reply }).await
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
