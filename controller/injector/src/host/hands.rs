//! The thread that does what blocks: it owns the journal on behalf of the engine's thread and the API.
//!
//! Requests go through a bounded channel. Each gives a [`Pending`] answer that the engine's loop polls, a test waits for, and
//! a task awaits. When the last handle is dropped, everything is reverted and the thread ends.

mod worker;

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::mpsc::{self, SyncSender, TrySendError},
    task::{Context, Poll},
    thread,
};

use tokio::sync::oneshot;
use worker::{Request, Worker};

use super::{
    actors::Work,
    change::Change,
    command::CommandError,
    journal::{Journal, JournalError},
    timer::Armer,
};

/// Requests that may wait.
const QUEUE: usize = 64;

/// Why the hands did not do what they were asked.
#[derive(Debug, thiserror::Error)]
pub enum HandsError {
    /// Nobody would revert the change if the injector froze.
    #[error(
        "no guard is running, and it would have to undo this fault if the injector could not: systemctl start observastack-guard"
    )]
    NoGuard,
    /// The timer could not be armed.
    #[error("cannot arm the timer that would undo the fault: {0}")]
    NotArmed(CommandError),
    /// The lease or the actor's thread could not be had.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The journal refused, or could not undo.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Too much waits already.
    #[error("the injector is busy with {QUEUE} other changes; try again")]
    Busy,
    /// The thread has ended.
    #[error("the injector is shutting down")]
    Gone,
}

/// What the hands need.
pub struct Options {
    /// The journal, which [`super::recover`] has emptied.
    pub journal: Journal,
    /// The lease, in the injector's run-time directory.
    pub lease: PathBuf,
    /// Where the guard's lock is; `None` needs no guard, for machines that have none (kernel tests).
    pub guard: Option<PathBuf>,
    /// Who reverts when nobody else does.
    pub armer: Box<dyn Armer>,
}

/// An answer that is on its way.
#[derive(Debug)]
pub struct Pending<T>(oneshot::Receiver<Result<T, HandsError>>);

/// A handle on the hands; cheap to clone.
#[derive(Clone, Debug)]
pub struct Hands {
    requests: SyncSender<Request>,
}

/// Starts the thread.
pub fn spawn(options: Options) -> Result<(Hands, thread::JoinHandle<()>), HandsError> {
    let (requests, inbox) = mpsc::sync_channel(QUEUE);
    let worker = Worker::new(options)?;
    let thread = thread::Builder::new()
        .name("hands".to_owned())
        .spawn(move || worker.run(&inbox))
        .map_err(|source| HandsError::Io {
            what: "start a thread",
            source,
        })?;
    Ok((Hands { requests }, thread))
}

impl Hands {
    /// Makes a fault's changes, all or none, and puts its actor to work. `end_ns` is of `CLOCK_MONOTONIC`.
    ///
    /// Changes that the kernel does not undo need a guard, and are timed, before they are made. Faults with an actor only are
    /// not: the actor ends with this process.
    pub fn apply(
        &self,
        id: u64,
        unit: &str,
        end_ns: u64,
        changes: Vec<Change>,
        actor: Option<Work>,
    ) -> Pending<()> {
        let unit = unit.to_owned();
        self.ask(|reply| Request::Apply {
            id,
            unit,
            end_ns,
            changes,
            actor,
            reply,
        })
    }

    /// Ends a fault: its actor first, then its changes in reverse. One that has ended already is no error.
    pub fn revert(&self, id: u64) -> Pending<()> {
        self.ask(|reply| Request::Revert { id, reply })
    }

    /// Ends every fault. All are tried, the first failure is told.
    pub fn revert_all(&self) -> Pending<()> {
        self.ask(|reply| Request::RevertAll { reply })
    }

    /// Faults that somebody else (the guard, the timer, a person) has reverted since this was last asked.
    pub fn lost(&self) -> Pending<Vec<u64>> {
        self.ask(|reply| Request::Lost { reply })
    }

    fn ask<T>(&self, request: impl FnOnce(worker::Reply<T>) -> Request) -> Pending<T> {
        let (reply, answer) = oneshot::channel();
        match self.requests.try_send(request(reply)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Pending(answer),
            Err(TrySendError::Full(_)) => {
                let (reply, answer) = oneshot::channel();
                let _ = reply.send(Err(HandsError::Busy));
                Pending(answer)
            }
        }
    }
}

impl<T> Pending<T> {
    /// Waits for the answer. Not for tasks: they await it.
    pub fn wait(self) -> Result<T, HandsError> {
        self.0.blocking_recv().unwrap_or(Err(HandsError::Gone))
    }

    /// The answer, if it is there; once.
    pub fn poll(&mut self) -> Option<Result<T, HandsError>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(HandsError::Gone)),
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, HandsError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(HandsError::Gone)))
    }
}

#[cfg(test)]
mod tests;
