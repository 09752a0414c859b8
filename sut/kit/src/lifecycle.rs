//! A service's life: ready, reloading on SIGHUP, draining on SIGTERM, watched by systemd all along.
//!
//! For services on a tokio runtime of their own. A process whose signals belong to somebody else (pingora) uses
//! [`stopped`], [`watch_alive`] and [`reload_on_hangup`] as they are.

use std::future::Future;
use std::io;
use std::time::Duration;

use observastack_telemetry::notify;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{ConfigStore, ServiceConfig};
use crate::health::Health;

/// Waits for the stop: until the flag is true, or its sender is gone.
pub async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that nobody can tell us any more: stopping is the safe reading.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Feeds systemd's watchdog while `health` is alive, until the stop; see [`notify::watchdog`].
pub async fn watch_alive(health: Health, mut shutdown: watch::Receiver<bool>) {
    let alive = || {
        let report = health.is_alive();
        for reason in &report.reasons {
            tracing::warn!(check = reason.check, reason = reason.reason, "not alive");
        }
        report.is_ok()
    };
    notify::watchdog(alive, stopped(&mut shutdown)).await;
}

/// Reads the configuration's files again on every SIGHUP, until the stop. A bad file changes nothing.
///
/// # Errors
/// The signal handler cannot be installed.
pub async fn reload_on_hangup<C: ServiceConfig>(
    store: ConfigStore<C>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            () = stopped(&mut shutdown) => return Ok(()),
            _ = hangups.recv() => reload(&store).await,
        }
    }
}

async fn reload<C: ServiceConfig>(store: &ConfigStore<C>) {
    notify::reloading();
    match store.reload().await {
        Ok(now) => notify::status(&format!("serving, configuration version {}", now.version)),
        // The store has logged it.
        Err(error) => notify::status(&format!("reload refused: {error}")),
    }
    notify::ready();
}

/// How much longer systemd is asked to wait for a start that takes its time.
const START_EXTENSION: Duration = Duration::from_secs(20);

/// What may come while a service runs.
enum Event {
    Hangup,
    Stop,
    Failure(LifecycleError),
}

/// How a service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every task finished in time.
    Drained,
    /// The time was up, or a second signal came: what still ran was cut off.
    CutOff,
}

/// Why a service ended that nobody stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// The signal handlers cannot be installed.
    #[error("cannot install the signal handlers: {0}")]
    Signals(#[from] io::Error),
    /// A task that should run to the stop failed.
    #[error("{task} failed: {reason}")]
    TaskFailed {
        /// Its name.
        task: &'static str,
        /// What it says.
        reason: String,
    },
    /// A task that should run to the stop returned.
    #[error("{task} ended although the service was not stopped")]
    TaskEnded {
        /// Its name.
        task: &'static str,
    },
}

/// Runs a service's tasks from ready to drained.
///
/// ```no_run
/// # use observastack_kit::{config::{ConfigStore, ServiceConfig}, health::Health, http, lifecycle::Lifecycle};
/// # async fn main_of<C: ServiceConfig>(store: ConfigStore<C>, server: http::Server, router: http::Router<()>)
/// # -> Result<(), observastack_kit::lifecycle::LifecycleError> {
/// let mut lifecycle = Lifecycle::new(Health::new())?;
/// let shutdown = lifecycle.shutdown();
/// lifecycle.spawn("http", async move { server.serve(router, shutdown).await });
/// lifecycle.run(&store, std::time::Duration::from_secs(20)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lifecycle {
    health: Health,
    stop: watch::Sender<bool>,
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Lifecycle {
    /// Installs the signal handlers: from here on no signal is lost. Needs a tokio runtime.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn new(health: Health) -> Result<Self, LifecycleError> {
        Ok(Self {
            health,
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Turns true at the stop: for everything that has to end then.
    #[must_use]
    pub fn shutdown(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Starts a task that runs until the stop and then ends by itself. If it ends before, so does the service.
    pub fn spawn<T, E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<T, E>> + Send + 'static,
    ) {
        self.tasks.spawn(async move {
            (
                name,
                task.await.map(drop).map_err(|error| error.to_string()),
            )
        });
    }

    /// Tells systemd the service is ready, and serves until SIGTERM or SIGINT; SIGHUP reloads the configuration.
    ///
    /// At the stop the service is no longer ready, `shutdown` turns true, and the tasks have `grace` to end; give
    /// them more than their own drain takes, and systemd (`TimeoutStopSec=`) more than this.
    ///
    /// # Errors
    /// A task that ended or failed by itself; the others are drained all the same.
    pub async fn run<C: ServiceConfig>(
        self,
        store: &ConfigStore<C>,
        grace: Duration,
    ) -> Result<Ended, LifecycleError> {
        self.run_when(std::future::ready(()), store, grace).await
    }

    /// As [`Lifecycle::run`], but tells systemd that the service is ready when `ready` ends. Until then systemd is
    /// asked for more time again and again: a service whose database comes up late is late, not failed.
    ///
    /// # Errors
    /// As [`Lifecycle::run`].
    pub async fn run_when<C: ServiceConfig>(
        mut self,
        ready: impl Future<Output = ()>,
        store: &ConfigStore<C>,
        grace: Duration,
    ) -> Result<Ended, LifecycleError> {
        let watchdog = tokio::spawn(watch_alive(self.health.clone(), self.shutdown()));
        let failure = 'running: {
            if let Err(failure) = self.wait_until(ready, store).await {
                break 'running failure;
            }
            notify::status(&format!(
                "serving, configuration version {}",
                store.version()
            ));
            notify::ready();
            loop {
                match self.event().await {
                    Event::Hangup => reload(store).await,
                    Event::Stop => break None,
                    Event::Failure(failure) => break Some(failure),
                }
            }
        };
        notify::stopping();
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(grace_ms, "stopping: requests in flight are finished");
        self.health.set_draining();
        self.stop.send_replace(true);
        let ended = self.drain(grace).await;
        // It waits for nothing but the stop.
        let _ = watchdog.await;
        match failure {
            Some(failure) => Err(failure),
            None => Ok(ended),
        }
    }

    /// Waits for `ready`; an error is the end of the service before, with the failure if there is one.
    async fn wait_until<C: ServiceConfig>(
        &mut self,
        ready: impl Future<Output = ()>,
        store: &ConfigStore<C>,
    ) -> Result<(), Option<LifecycleError>> {
        let mut ready = std::pin::pin!(ready);
        let mut signs_of_life = tokio::time::interval(START_EXTENSION / 4);
        loop {
            tokio::select! {
                biased;
                () = &mut ready => return Ok(()),
                event = self.event() => match event {
                    // systemd must not hear of a reload before it heard that we are ready. The store logs a refusal.
                    Event::Hangup => drop(store.reload().await),
                    Event::Stop => return Err(None),
                    Event::Failure(failure) => return Err(Some(failure)),
                },
                _ = signs_of_life.tick() => {
                    notify::extend_start_timeout(START_EXTENSION);
                    let missing = self.health.is_ready().reasons.into_iter();
                    let missing = missing.map(|reason| format!("{}: {}", reason.check, reason.reason));
                    notify::status(&format!("starting, {}", missing.collect::<Vec<_>>().join("; ")));
                }
            }
        }
    }

    async fn event(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Hangup,
            Some(ended) = self.tasks.join_next() => Event::Failure(failure(ended)),
        }
    }

    async fn drain(&mut self, grace: Duration) -> Ended {
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((task, Err(error))) => {
                        tracing::warn!(task, error, "a task failed while stopping")
                    }
                    Err(error) => tracing::error!(%error, "a task panicked while stopping"),
                }
            }
        };
        let ended = tokio::select! {
            () = all_ended => return Ended::Drained,
            () = tokio::time::sleep(grace) => Ended::CutOff,
            _ = self.terminate.recv() => Ended::CutOff,
            _ = self.interrupt.recv() => Ended::CutOff,
        };
        tracing::warn!(
            tasks = self.tasks.len(),
            "stopped before everything was finished"
        );
        self.tasks.shutdown().await;
        ended
    }
}

fn failure(
    ended: Result<(&'static str, Result<(), String>), tokio::task::JoinError>,
) -> LifecycleError {
    match ended {
        Ok((task, Ok(()))) => LifecycleError::TaskEnded { task },
        Ok((task, Err(reason))) => LifecycleError::TaskFailed { task, reason },
        Err(error) => LifecycleError::TaskFailed {
            task: "a task",
            reason: error.to_string(),
        },
    }
}
