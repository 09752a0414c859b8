//! The one thread that owns the runner: it takes what is said, in turn, and a few times a second does a slice of what has to be done.

use std::{
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use observastack_spec::drill::{log::Entry, score::Score};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use crate::{
    lab::Lab,
    runner::{Command, Offer, Reader, Record, Refusal, Report, Runner, Standing},
    store::{Past, StoreError},
};

/// Requests that wait; more have to wait before they can.
const REQUESTS: usize = 64;
/// How often something is done.
const TICK: Duration = Duration::from_millis(500);

/// What can be asked of the thread.
enum Request {
    Say(Command, Reader, oneshot::Sender<Result<(), Refusal>>),
    Now(Reader, oneshot::Sender<Now>),
    Entries(
        u64,
        Reader,
        oneshot::Sender<Result<(i64, Vec<Entry>), StoreError>>,
    ),
    Report(
        Option<i64>,
        Reader,
        oneshot::Sender<Result<Option<Report>, StoreError>>,
    ),
    History(
        usize,
        Reader,
        oneshot::Sender<Result<Vec<Past>, StoreError>>,
    ),
    Export(
        i64,
        u64,
        usize,
        oneshot::Sender<Result<Vec<Record>, StoreError>>,
    ),
    Offers(Reader, oneshot::Sender<Result<Vec<Offer>, StoreError>>),
}

/// How everything stands.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Now {
    /// The run; nothing where none goes on.
    pub run: Option<Standing>,
    /// Its score, once there is one.
    pub score: Option<Score>,
}

/// The thread is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controller is stopping")]
pub struct Stopping;

/// A handle on the thread, which ends with the last of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    requests: mpsc::Sender<Request>,
    moved: watch::Receiver<u64>,
}

/// Starts the thread. `now_ms` is its clock: milliseconds since 1970.
///
/// # Errors
/// There is no thread to be had.
pub fn spawn<L: Lab + 'static>(
    runner: Runner<L>,
    now_ms: impl Fn() -> u64 + Send + 'static,
) -> io::Result<(Engine, JoinHandle<()>)> {
    let (requests, received) = mpsc::channel(REQUESTS);
    let (moves, moved) = watch::channel(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || runtime.block_on(run(runner, received, &moves, now_ms)))?;
    Ok((Engine { requests, moved }, thread))
}

async fn run<L: Lab>(
    mut runner: Runner<L>,
    mut requests: mpsc::Receiver<Request>,
    moves: &watch::Sender<u64>,
    now_ms: impl Fn() -> u64,
) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => answer(&mut runner, request, now_ms()).await,
                None => return,
            },
            _ = ticks.tick() => {
                if let Err(error) = runner.tick(now_ms()).await {
                    // Tried again: nothing is done that could not be kept.
                    error!(%error, "the drill does not go on");
                }
            }
        }
        // Whoever follows asks for what is new.
        let written = runner.written();
        moves.send_if_modified(|last| std::mem::replace(last, written) != written);
    }
}

async fn answer<L: Lab>(runner: &mut Runner<L>, request: Request, now_ms: u64) {
    // Whoever has asked may be gone.
    match request {
        Request::Say(command, by, to) => {
            drop(to.send(runner.command(now_ms, command, by).await));
        }
        Request::Now(reader, to) => drop(to.send(Now {
            run: runner.standing(reader),
            score: runner.score(reader),
        })),
        Request::Entries(after, reader, to) => drop(to.send(runner.public_entries(after, reader))),
        Request::Report(run, reader, to) => drop(to.send(runner.report(run, reader))),
        Request::History(most, reader, to) => drop(to.send(runner.history(most, reader))),
        Request::Export(after, since_ms, most, to) => {
            drop(to.send(runner.export(after, since_ms, most)));
        }
        Request::Offers(reader, to) => drop(to.send(runner.offers(reader))),
    }
}

impl Engine {
    /// Says something.
    ///
    /// # Errors
    /// The thread is gone, or (inside) it comes to nothing.
    pub async fn say(&self, command: Command, by: Reader) -> Result<Result<(), Refusal>, Stopping> {
        self.ask(|to| Request::Say(command, by, to)).await
    }

    /// How everything stands, as far as its reader may know.
    ///
    /// # Errors
    /// The thread is gone.
    pub async fn now(&self, reader: Reader) -> Result<Now, Stopping> {
        self.ask(|to| Request::Now(reader, to)).await
    }

    /// What happened after so many entries, as far as its reader may know, and in which run.
    ///
    /// # Errors
    /// The thread is gone, or (inside) the store's.
    pub async fn entries(
        &self,
        after: u64,
        reader: Reader,
    ) -> Result<Result<(i64, Vec<Entry>), StoreError>, Stopping> {
        self.ask(|to| Request::Entries(after, reader, to)).await
    }

    /// The report of a run, or of the one that goes on; nothing where it has not ended, or is not its reader's to know.
    ///
    /// # Errors
    /// The thread is gone, or (inside) the store's.
    pub async fn report(
        &self,
        run: Option<i64>,
        reader: Reader,
    ) -> Result<Result<Option<Report>, StoreError>, Stopping> {
        self.ask(|to| Request::Report(run, reader, to)).await
    }

    /// The last runs, the newest first.
    ///
    /// # Errors
    /// The thread is gone, or (inside) the store's.
    pub async fn history(
        &self,
        most: usize,
        reader: Reader,
    ) -> Result<Result<Vec<Past>, StoreError>, Stopping> {
        self.ask(|to| Request::History(most, reader, to)).await
    }

    /// Records of runs that are over, the oldest first: after a run's number, begun at a moment or later, and not more than so many.
    ///
    /// # Errors
    /// The thread is gone, or (inside) the store's.
    pub async fn export(
        &self,
        after: i64,
        since_ms: u64,
        most: usize,
    ) -> Result<Result<Vec<Record>, StoreError>, Stopping> {
        self.ask(|to| Request::Export(after, since_ms, most, to))
            .await
    }

    /// What a learner may know of every drill, and what its reader has made of it.
    ///
    /// # Errors
    /// The thread is gone, or (inside) the store's.
    pub async fn offers(&self, reader: Reader) -> Result<Result<Vec<Offer>, StoreError>, Stopping> {
        self.ask(|to| Request::Offers(reader, to)).await
    }

    /// Changes whenever something new has happened.
    #[must_use]
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.clone()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Stopping> {
        let (to, answer) = oneshot::channel();
        self.requests
            .send(request(to))
            .await
            .map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}
