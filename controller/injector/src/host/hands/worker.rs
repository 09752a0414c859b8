//! What the hands do with a request, and between requests.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use observastack_loader::clock::monotonic_ns;
use tokio::sync::oneshot;
use tracing::warn;

use super::{HandsError, Options};
use crate::host::{
    actors::{Work, Working},
    change::Change,
    guard,
    journal::JournalError,
    lease::Keeper,
};

/// How often faults follow their units through restarts.
const FOLLOW: Duration = Duration::from_millis(250);
/// How often the thread turns when there is nothing to follow.
const IDLE: Duration = Duration::from_secs(60);

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, HandsError>>;

/// What the hands are asked to do.
pub(super) enum Request {
    Apply {
        id: u64,
        unit: String,
        end_ns: u64,
        changes: Vec<Change>,
        actor: Option<Work>,
        reply: Reply<()>,
    },
    Revert {
        id: u64,
        reply: Reply<()>,
    },
    RevertAll {
        reply: Reply<()>,
    },
    Lost {
        reply: Reply<Vec<u64>>,
    },
}

/// A fault that the hands keep up.
struct Held {
    /// It has an entry in the journal, and a timer.
    journalled: bool,
    actor: Option<Working>,
}

pub(super) struct Worker {
    options: Options,
    lease: Keeper,
    held: BTreeMap<u64, Held>,
    lost: Vec<u64>,
}

impl Worker {
    pub(super) fn new(options: Options) -> Result<Self, HandsError> {
        let lease = Keeper::spawn(&options.lease).map_err(|source| HandsError::Io {
            what: "open the lease",
            source,
        })?;
        Ok(Self {
            options,
            lease,
            held: BTreeMap::new(),
            lost: Vec::new(),
        })
    }

    pub(super) fn run(mut self, inbox: &Receiver<Request>) {
        let mut followed = Instant::now();
        loop {
            let wait = if self.held.is_empty() {
                IDLE
            } else {
                FOLLOW.saturating_sub(followed.elapsed())
            };
            match inbox.recv_timeout(wait) {
                // A caller that has gone away does not wait for its answer.
                Ok(request) => self.handle(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if followed.elapsed() >= FOLLOW {
                self.follow();
                followed = Instant::now();
            }
        }
        if let Err(error) = self.revert_all() {
            warn!(%error, "something is left for the guard to undo");
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Apply {
                id,
                unit,
                end_ns,
                changes,
                actor,
                reply,
            } => {
                let _ = reply.send(self.apply(id, &unit, end_ns, changes, actor));
            }
            Request::Revert { id, reply } => {
                let _ = reply.send(self.revert(id));
            }
            Request::RevertAll { reply } => {
                let _ = reply.send(self.revert_all());
            }
            Request::Lost { reply } => {
                let _ = reply.send(Ok(std::mem::take(&mut self.lost)));
            }
        }
        self.rest();
    }

    fn apply(
        &mut self,
        id: u64,
        unit: &str,
        end_ns: u64,
        changes: Vec<Change>,
        actor: Option<Work>,
    ) -> Result<(), HandsError> {
        if self.held.contains_key(&id) {
            return Err(JournalError::Exists(id).into());
        }
        let journalled = !changes.is_empty();
        if journalled {
            self.change(id, unit, end_ns, changes)?;
        }
        let actor =
            actor.map(|work| Working::begin(id, end_ns, work, self.options.journal.clone()));
        match actor.transpose() {
            Ok(actor) => {
                self.held.insert(id, Held { journalled, actor });
                Ok(())
            }
            Err(source) => {
                self.undo(id, journalled)?;
                Err(HandsError::Io {
                    what: "start the fault's thread",
                    source,
                })
            }
        }
    }

    /// Everything that reverts the changes is in place before the first of them is made.
    fn change(
        &mut self,
        id: u64,
        unit: &str,
        end_ns: u64,
        changes: Vec<Change>,
    ) -> Result<(), HandsError> {
        if let Some(directory) = &self.options.guard
            && !guard::is_running(directory)
        {
            return Err(HandsError::NoGuard);
        }
        self.lease.start().map_err(|source| HandsError::Io {
            what: "renew the lease",
            source,
        })?;
        let journal = &self.options.journal;
        let left = Duration::from_nanos(end_ns.saturating_sub(monotonic_ns()));
        self.options
            .armer
            .arm(id, left)
            .map_err(HandsError::NotArmed)?;
        let result = journal.apply(journal.entry(id, unit, end_ns, changes));
        // An entry that stays, because what failed could not be undone, keeps its timer.
        if result.is_err() && !journal.has(id) {
            self.options.armer.disarm(id);
        }
        Ok(result?)
    }

    fn revert(&mut self, id: u64) -> Result<(), HandsError> {
        // The actor ends first: what it did last is undone with the rest.
        let journalled = self.held.remove(&id).is_some_and(|held| held.journalled);
        self.undo(id, journalled || self.options.journal.has(id))
    }

    fn undo(&self, id: u64, journalled: bool) -> Result<(), HandsError> {
        if journalled {
            self.options.journal.revert(id)?;
            self.options.armer.disarm(id);
        }
        Ok(())
    }

    fn revert_all(&mut self) -> Result<(), HandsError> {
        let mut result = Ok(());
        // The latest first: it was built on the earlier ones.
        while let Some((id, _)) = self.held.last_key_value() {
            let id = *id;
            result = result.and(self.revert(id));
        }
        for (id, reverted) in self.options.journal.revert_all() {
            if reverted.is_ok() {
                self.options.armer.disarm(id);
            }
            result = result.and(reverted.map_err(HandsError::from));
        }
        result
    }

    /// Takes in what restarts have brought, and lets go of what somebody else has reverted.
    fn follow(&mut self) {
        let mut lost = Vec::new();
        for (id, held) in &mut self.held {
            if held.actor.as_ref().is_some_and(Working::has_ended) {
                held.actor = None;
            }
            if !held.journalled {
                continue;
            }
            match self.options.journal.follow(*id) {
                Ok(true) => {}
                Ok(false) => lost.push(*id),
                Err(error) => warn!(fault = *id, %error, "the fault cannot follow its unit"),
            }
        }
        for id in lost {
            warn!(fault = id, "fault {id} was reverted by somebody else");
            self.held.remove(&id);
            self.options.armer.disarm(id);
            self.lost.push(id);
        }
        self.rest();
    }

    /// Without journalled faults nobody watches the lease. One that could not be reverted is still the guard's.
    fn rest(&self) {
        if !self.held.values().any(|held| held.journalled) {
            self.lease.stop();
        }
    }
}
