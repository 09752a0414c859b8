//! The requests themselves: workers, each a thread with its own connections and its own share of the plan.

mod connection;
mod source;
mod worker;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    http::Template,
    schedule::{Profile, Spacing},
    stats::Stats,
};

/// What comes when.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// At planned times, whether the target keeps up or not.
    Open {
        /// The rate over time.
        profile: Profile,
        /// How arrivals are spaced.
        spacing: Spacing,
        /// Where chance decides.
        seed: u64,
    },
    /// Each user asks again a while after the answer.
    Closed {
        /// How many.
        users: usize,
        /// How long each thinks in between.
        think: Duration,
        /// For how long.
        length: Duration,
    },
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub address: SocketAddr,
    /// What is sent.
    pub request: Template,
    /// When.
    pub arrival: Arrival,
    /// Connections at once, of all workers.
    pub connections: usize,
    /// Whether they are used again.
    pub keep_alive: bool,
    /// How long an answer may take, from when the request was sent, connecting included; and how long it may wait for a connection before
    /// that.
    pub timeout: Duration,
    /// Statuses that are as asked for; empty for anything below 400.
    pub statuses: Vec<u16>,
    /// Requests that may wait for a connection, of all workers; what is due beyond them is dropped and counted.
    pub backlog: usize,
    /// Threads.
    pub workers: usize,
}

impl Plan {
    /// Whether a status is as asked for.
    #[must_use]
    pub fn accepts(&self, status: u16) -> bool {
        if self.statuses.is_empty() {
            status < 400
        } else {
            self.statuses.contains(&status)
        }
    }

    /// How long it takes, without the last answers.
    #[must_use]
    pub fn length(&self) -> Duration {
        match &self.arrival {
            Arrival::Open { profile, .. } => profile.length(),
            Arrival::Closed { length, .. } => *length,
        }
    }
}

/// A run that can be watched and stopped.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    workers: Vec<thread::JoinHandle<io::Result<()>>>,
    begun: Instant,
}

/// What workers and watchers share.
#[derive(Debug, Default)]
struct Shared {
    /// What each worker has measured so far, as of a moment ago.
    stats: Vec<Mutex<Stats>>,
    is_stopped: AtomicBool,
}

impl Shared {
    /// All workers' together.
    fn sum(&self) -> Stats {
        let mut all = Stats::default();
        for stats in &self.stats {
            all.add(&stats.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all
    }
}

impl Run {
    /// Starts the workers; the first requests are due at once.
    ///
    /// # Errors
    /// There is no thread or no epoll instance to be had.
    pub fn start(plan: &Plan) -> io::Result<Self> {
        let workers = plan.workers.max(1);
        let shared = Arc::new(Shared {
            stats: (0..workers).map(|_| Mutex::default()).collect(),
            is_stopped: AtomicBool::new(false),
        });
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

    /// What was measured so far, as of a tenth of a second ago.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.sum()
    }

    /// No request is due from now on; those under way have their time.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Waits for the last answers.
    ///
    /// # Errors
    /// A worker could not go on.
    pub fn finish(self) -> io::Result<Stats> {
        let mut failed = None;
        for worker in self.workers {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(io::Error::other("a worker panicked")),
            }
        }
        failed.map_or_else(|| Ok(self.shared.sum()), Err)
    }
}
