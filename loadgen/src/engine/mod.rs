//! The requests themselves: workers, each a thread with its own connections and its own share of the plan.

mod connection;
mod session;
mod shared;
mod source;
mod timers;
mod worker;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    schedule::{Profile, Slope, Spacing},
    stats::Stats,
    workload::Workload,
};
use shared::Shared;

/// What comes when.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// At planned times, whether the target keeps up or not.
    Open {
        /// The rate over time.
        profile: Profile,
        /// How arrivals are spaced; chance is the workload's.
        spacing: Spacing,
    },
    /// Each user begins again a while after the end.
    Closed {
        /// How many.
        users: usize,
        /// How long each thinks in between.
        think: Duration,
        /// For how long.
        length: Duration,
    },
}

/// Connections of an open loop where nothing is said.
const CONNECTIONS: usize = 256;
/// Requests that may wait for a connection: what would wait for longer than a time limit is not worth waiting for, and memory has a bound.
const BACKLOG: usize = 100_000;

impl Arrival {
    /// Connections at once: so many, or what suits it; each user has one.
    #[must_use]
    pub fn connections(&self, most: Option<u32>) -> usize {
        match (most, self) {
            (Some(most), _) => most as usize,
            (None, Self::Closed { users, .. }) => *users,
            (None, Self::Open { .. }) => CONNECTIONS,
        }
    }

    /// For how long journeys begin.
    #[must_use]
    pub fn length(&self) -> Duration {
        match self {
            Self::Open { profile, .. } => profile.length(),
            Self::Closed { length, .. } => *length,
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// What clients do.
    pub workload: Arc<Workload>,
    /// When they begin.
    pub arrival: Arrival,
    /// Connections at once, of all workers.
    pub connections: usize,
    /// Threads; no more than connections are of use.
    pub workers: usize,
}

/// What a watcher wants otherwise than the plan has it; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Command {
    /// Journeys a second, instead of the plan's rate, by the run's time; open loops only.
    pub rate: Option<Slope>,
    /// No journey begins.
    pub is_paused: bool,
}

/// A run that can be watched, changed and stopped.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    workers: Vec<thread::JoinHandle<io::Result<Box<Stats>>>>,
    begun: Instant,
}

impl Run {
    /// Starts the workers; the first requests are due at once.
    ///
    /// # Errors
    /// There is no thread or no epoll instance to be had.
    pub fn start(plan: &Plan) -> io::Result<Self> {
        let workers = plan.workers.min(plan.connections).max(1);
        let (endpoints, journeys) = (plan.workload.endpoints(), plan.workload.journeys.len());
        let shared = Arc::new(Shared::new(workers, || Stats::new(endpoints, journeys)));
        let plan = Arc::new(plan.clone());
        let begun = Instant::now();
        let mut started = Vec::new();
        for number in 0..workers {
            let share = source::Share {
                number,
                of: workers,
            };
            let worker = worker::Worker::new(Arc::clone(&plan), Arc::clone(&shared), share, begun)?;
            let thread = thread::Builder::new()
                .name(format!("load-{number}"))
                .spawn(move || worker.run())?;
            started.push(thread);
        }
        Ok(Self {
            shared,
            workers: started,
            begun,
        })
    }

    /// How long it has been running.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Whether every worker has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.workers.iter().all(thread::JoinHandle::is_finished)
    }

    /// Shows what each worker has measured since the last time, as of a tenth of a second ago.
    pub fn take(&self, look: impl FnMut(&Stats)) {
        self.shared.take(look);
    }

    /// Journeys begin otherwise from now on, within a twentieth of a second.
    pub fn tell(&self, command: Command) {
        self.shared.tell(command);
    }

    /// No journey begins and no request is due from now on; those under way have their time.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits for the last answers, and shows what was measured since the last time.
    ///
    /// # Errors
    /// A worker could not go on.
    pub fn finish(self, mut look: impl FnMut(&Stats)) -> io::Result<()> {
        let mut failed = None;
        for worker in self.workers {
            match worker.join() {
                Ok(Ok(stats)) => look(&stats),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(io::Error::other("a worker panicked")),
            }
        }
        self.shared.take(look);
        failed.map_or(Ok(()), Err)
    }
}
