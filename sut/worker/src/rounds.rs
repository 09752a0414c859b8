//! Threads that count what is bought together, each a part of the orders, for a round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::pairs::{self, Basket, Counts};

/// How long threads compute: once at least, and longer where it is asked for.
#[derive(Debug, Clone)]
pub struct Round {
    /// For so long.
    pub at_least: Duration,
    /// For as long as this is true, too.
    pub goes_on: Arc<AtomicBool>,
    /// Whatever is said above, they end soon after this is true.
    pub stop: Arc<AtomicBool>,
}

impl Round {
    /// One that ends with its first pass.
    #[must_use]
    pub fn one_pass(stop: &Arc<AtomicBool>) -> Self {
        Self {
            at_least: Duration::ZERO,
            goes_on: Arc::default(),
            stop: Arc::clone(stop),
        }
    }

    fn is_over(&self, since: Instant) -> bool {
        self.stop.load(Ordering::Relaxed)
            || (since.elapsed() >= self.at_least && !self.goes_on.load(Ordering::Relaxed))
    }
}

/// Why a round came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The system has no thread for it.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread has panicked.
    #[error("a thread of the computation has ended before its time")]
    Lost,
}

/// Gives the counts and how often they were computed: by each thread its part, again and again until the round is over.
///
/// # Errors
/// A thread cannot be started, or has panicked.
pub fn compute(
    baskets: &[Basket],
    threads: usize,
    round: &Round,
) -> Result<(Counts, u64), RoundError> {
    let started = Instant::now();
    let passes = AtomicU64::new(0);
    let pass = |shard: &[Basket]| {
        loop {
            // A part that is empty is no reason to rest: the threads are to be busy.
            let counts = pairs::count(std::hint::black_box(shard));
            passes.fetch_add(1, Ordering::Relaxed);
            if round.is_over(started) {
                return counts;
            }
        }
    };
    let shards = pairs::shards(baskets, threads);
    let counts = std::thread::scope(|scope| {
        let mut running = Vec::new();
        let mut failed = None;
        for number in 0..threads {
            let shard = shards.get(number).copied().unwrap_or_default();
            let pass = &pass;
            let thread = std::thread::Builder::new().name(format!("recommend-{number}"));
            match thread.spawn_scoped(scope, move || pass(shard)) {
                Ok(thread) => running.push(thread),
                Err(error) => failed = Some(error),
            }
        }
        let counts: Result<Vec<Counts>, _> =
            running.into_iter().map(|thread| thread.join()).collect();
        match (counts, failed) {
            (Ok(counts), None) => Ok(pairs::merge(counts)),
            (_, Some(error)) => Err(RoundError::Thread(error)),
            (Err(_), None) => Err(RoundError::Lost),
        }
    })?;
    let threads = u64::try_from(threads.max(1)).unwrap_or(u64::MAX);
    Ok((counts, passes.into_inner().div_ceil(threads)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_count_what_one_does_and_as_often_as_time_allows() {
        let baskets: Vec<Basket> = (0..100).map(|n| vec![n % 7, 7 + n % 5, 20]).collect();
        let once = Round::one_pass(&Arc::default());
        let (one, runs) = compute(&baskets, 1, &once).unwrap();
        assert_eq!(runs, 1);
        assert_eq!(one, pairs::count(&baskets));
        let long = Round {
            at_least: Duration::from_millis(50),
            ..once.clone()
        };
        let (many, runs) = compute(&baskets, 8, &long).unwrap();
        assert_eq!(many, one);
        assert!(runs > 10, "{runs}");
        assert_eq!(compute(&[], 3, &once).unwrap().0, Counts::new());
    }

    #[test]
    fn a_stop_ends_a_round_before_its_time() {
        let round = Round {
            at_least: Duration::from_secs(60),
            goes_on: Arc::new(AtomicBool::new(true)),
            stop: Arc::new(AtomicBool::new(true)),
        };
        let started = Instant::now();
        compute(&[vec![1, 2]], 2, &round).unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
