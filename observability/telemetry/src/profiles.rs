//! CPU profiles: the stacks of this process, sampled while it uses a CPU, sent to a Pyroscope server every 10 seconds.
//!
//! `ITIMER_PROF` counts CPU time of the whole process, so one that waits costs nothing. What is not taken in time is lost: a profile is a
//! sample of samples.
//!
//! Off unless `PYROSCOPE_SERVER_ADDRESS` is set, as Pyroscope's own agents have it.

use std::{io, thread};

use pyroscope::{
    PyroscopeError,
    backend::{BackendConfig, PprofConfig, pprof_backend},
    pyroscope::{PyroscopeAgent, PyroscopeAgentBuilder, PyroscopeAgentRunning},
};
use rustix::process::setpriority_process;

use crate::otlp::{self, Identity};

const ADDRESS: &str = "PYROSCOPE_SERVER_ADDRESS";

/// Samples in a second of CPU time.
const RATE_HZ: u32 = 100;

/// The nice value that gives way to everybody.
const LOWEST_PRIORITY: i32 = 19;

/// Why no profiles are made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfilesError {
    /// The environment is malformed.
    #[error("{ADDRESS}={value:?} is not a URL such as http://127.0.0.1:4318")]
    Address {
        /// What it says.
        value: String,
    },
    /// The profiler cannot be started.
    #[error("the profiler cannot be started: {0}")]
    Start(#[from] PyroscopeError),
    /// There is no thread to be had.
    #[error("the profiler cannot be started: no thread: {0}")]
    Thread(#[source] io::Error),
    /// The profiler's library has panicked.
    #[error("the profiler cannot be started: it panicked")]
    Panicked,
}

/// The profiler, while it is kept.
///
/// What was sampled since the last profile is lost when the process ends: the library's own end waits for its timer, up to 10 seconds, and
/// nobody's stop should.
#[must_use]
pub struct Profiler {
    agent: Option<PyroscopeAgent<PyroscopeAgentRunning>>,
}

impl std::fmt::Debug for Profiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiler")
            .field("is_on", &self.agent.is_some())
            .finish()
    }
}

/// Starts to profile this process, as the environment says.
///
/// Profiles are of the application `service_name`, which is the identity's instance, with the tags `service` and `version`.
///
/// # Errors
/// The environment is malformed, or there is no thread or timer to be had.
pub fn start(identity: &Identity) -> Result<Profiler, ProfilesError> {
    let Some(address) = server()? else {
        return Ok(Profiler { agent: None });
    };
    let backend = pprof_backend(
        PprofConfig {
            sample_rate: RATE_HZ,
        },
        BackendConfig::default(),
    );
    let builder = PyroscopeAgentBuilder::new(
        address,
        &identity.instance,
        RATE_HZ,
        "pyroscope-rs",
        identity.version,
        backend,
    )
    .tags(vec![
        ("service", identity.service),
        ("version", identity.version),
    ]);
    let agent = in_the_background(move || builder.build()?.start())??;
    Ok(Profiler { agent: Some(agent) })
}

/// Runs something on a thread of the lowest priority, which the threads that it starts inherit: all services of a lab name their functions
/// at the same time, every 10 seconds, and no request should wait for that.
fn in_the_background<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProfilesError> {
    let thread = thread::Builder::new()
        .name("profiler-start".to_owned())
        .spawn(move || {
            // On Linux that is the thread's, not the process's. Refused (a stricter unit): as fast as everybody.
            if let Err(error) = setpriority_process(None, LOWEST_PRIORITY) {
                tracing::warn!(%error, "the profiler keeps the process's priority");
            }
            work()
        })
        .map_err(ProfilesError::Thread)?;
    thread.join().map_err(|_| ProfilesError::Panicked)
}

/// The base address of the server that takes profiles, as the environment says; `None` where none is given.
///
/// # Errors
/// The environment is malformed.
pub fn server() -> Result<Option<String>, ProfilesError> {
    let value = otlp::variable(ADDRESS).unwrap_or_default();
    Ok(address(&value)?.map(str::to_owned))
}

/// The server's address; `None` where none is given.
fn address(value: &str) -> Result<Option<&str>, ProfilesError> {
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    if !otlp::is_http_base(value) {
        return Err(ProfilesError::Address {
            value: value.to_owned(),
        });
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_profiled_without_an_address() {
        assert_eq!(address("  ").unwrap(), None);
    }

    #[test]
    fn an_address_that_cannot_be_used_is_refused_in_words() {
        for value in ["https://pyroscope", "127.0.0.1:4040", "http://h/?a=b"] {
            let error = address(value).unwrap_err();
            assert!(error.to_string().contains(value), "{error}");
        }
        assert_eq!(
            address("http://127.0.0.1:4318").unwrap(),
            Some("http://127.0.0.1:4318")
        );
    }
}
