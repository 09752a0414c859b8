//! Servers whose delays are known: each measures its own, or follows from what it does.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::ANSWER;
use crate::stats::Samples;

/// How long an answer takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delay {
    /// Always the same.
    Fixed(Duration),
    /// Every tenth the second, the others the first.
    Two(Duration, Duration),
    /// None, but from the first time after the first request on nothing is answered until the second.
    Stall(Duration, Duration),
}

/// A server, and what it did.
pub(super) struct Known {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    delay: Delay,
    took: Mutex<(u64, Samples)>,
    begun: Mutex<Option<Instant>>,
}

impl Known {
    /// Answers until this process ends, with a thread for each connection.
    pub(super) fn start(delay: Delay) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            delay,
            took: Mutex::default(),
            begun: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(stream));
            }
        });
        Ok(Self { address, state })
    }

    /// The share of its answers took no longer than this.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let took = self.state.took.lock();
        let took = took.unwrap_or_else(PoisonError::into_inner);
        took.1.quantile_ns(share) as f64 / 1e6
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        if stream.set_nodelay(true).is_err() {
            return;
        }
        while let Ok(length) = stream.read(&mut buffer) {
            if length == 0 {
                return;
            }
            let came = Instant::now();
            thread::sleep(self.wait(came));
            let took = u64::try_from(came.elapsed().as_nanos()).unwrap_or(u64::MAX);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
            let mut known = self.took.lock().unwrap_or_else(PoisonError::into_inner);
            known.1.push(took);
        }
    }

    fn wait(&self, came: Instant) -> Duration {
        match self.delay {
            Delay::Fixed(delay) => delay,
            Delay::Two(usual, rare) => {
                let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
                took.0 += 1;
                if took.0.is_multiple_of(10) {
                    rare
                } else {
                    usual
                }
            }
            Delay::Stall(from, to) => {
                let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
                let since = came - *begun.get_or_insert(came);
                if (from..to).contains(&since) {
                    to - since
                } else {
                    Duration::ZERO
                }
            }
        }
    }
}
