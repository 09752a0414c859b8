//! The one thread that owns the loaded programs: it answers requests, decodes events as they come, and follows the units.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use observastack_loader::{
    observer::{Observer, Probe, ProbeState, Snapshot, SwitchError},
    sock_diag::{Listener, SockDiag},
};
use observastack_spec::kernel::{KernelEvent, KernelReport};
use tokio::sync::{broadcast, oneshot};
use tracing::{debug, warn};

use crate::{cgroups::Cgroups, happened, listeners::Listeners, names::Devices, report};

/// Requests that wait; more are refused.
const REQUESTS: usize = 64;
/// Events that a listener may be behind.
const BEHIND: usize = 4096;
/// How often the ring buffer is read; it takes some 4,600 events between two looks.
const TICK: Duration = Duration::from_millis(20);
/// Events of one look, so that requests get their turn.
const EVENTS: usize = 8192;
/// How often units and listening sockets are looked for.
const FOLLOW: Duration = Duration::from_secs(1);
/// Lines in the journal in a second; more are counted.
const LINES: u32 = 50;

/// What can be asked of the thread.
enum Request {
    Report(oneshot::Sender<Result<Told, String>>),
    Switch(Probe, bool, oneshot::Sender<Result<(), SwitchError>>),
    Syscalls(String, bool, oneshot::Sender<Result<(), SwitchError>>),
}

/// Everything that is known now.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) report: KernelReport,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) states: Vec<ProbeState>,
    /// Events that were not written to the journal, as there were too many.
    pub(crate) unwritten: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The thread has ended.
    #[error("the observer is stopping")]
    Stopped,
    /// Too many requests wait.
    #[error("too many requests wait already")]
    Busy,
    /// The kernel's tables cannot be read.
    #[error("{0}")]
    Kernel(String),
    /// Something cannot be switched.
    #[error(transparent)]
    Switch(#[from] SwitchError),
}

/// A handle on the thread; it ends with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    requests: mpsc::SyncSender<Request>,
    events: broadcast::Sender<Arc<KernelEvent>>,
}

/// Starts the thread.
pub(crate) fn spawn(
    observer: Observer,
    cgroups: Cgroups,
) -> std::io::Result<(Engine, JoinHandle<()>)> {
    let (requests, received) = mpsc::sync_channel(REQUESTS);
    let (events, _) = broadcast::channel(BEHIND);
    let mut worker = Worker {
        observer,
        cgroups,
        sockets: SockDiag::open()
            .inspect_err(|error| warn!(%error, "listening sockets cannot be listed"))
            .ok(),
        listeners: Listeners::default(),
        devices: Devices::default(),
        events: events.clone(),
        lines: 0,
        unwritten: 0,
    };
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || worker.run(&received))?;
    Ok((Engine { requests, events }, thread))
}

impl Engine {
    /// Everything that was counted so far, read now.
    pub(crate) async fn told(&self) -> Result<Told, EngineError> {
        self.ask(Request::Report)
            .await?
            .map_err(EngineError::Kernel)
    }

    /// Switches a probe on or off.
    pub(crate) async fn switch(&self, probe: Probe, on: bool) -> Result<(), EngineError> {
        Ok(self
            .ask(|answer| Request::Switch(probe, on, answer))
            .await??)
    }

    /// Counts the system calls of a unit, or no longer.
    pub(crate) async fn syscalls(&self, unit: String, on: bool) -> Result<(), EngineError> {
        Ok(self
            .ask(|answer| Request::Syscalls(unit, on, answer))
            .await??)
    }

    /// Events from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<KernelEvent>> {
        self.events.subscribe()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .try_send(request(answer))
            .map_err(|error| match error {
                mpsc::TrySendError::Full(_) => EngineError::Busy,
                mpsc::TrySendError::Disconnected(_) => EngineError::Stopped,
            })?;
        answered.await.map_err(|_| EngineError::Stopped)
    }
}

struct Worker {
    observer: Observer,
    cgroups: Cgroups,
    sockets: Option<SockDiag>,
    listeners: Listeners,
    devices: Devices,
    events: broadcast::Sender<Arc<KernelEvent>>,
    /// Lines written since the last second began.
    lines: u32,
    unwritten: u64,
}

impl Worker {
    /// Until the last handle is gone.
    fn run(&mut self, requests: &mpsc::Receiver<Request>) {
        let mut followed = Instant::now() - FOLLOW;
        loop {
            if followed.elapsed() >= FOLLOW {
                self.follow();
                self.lines = 0;
                followed = Instant::now();
            }
            match requests.recv_timeout(TICK) {
                Ok(request) => self.answer(request),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            self.tell_events();
        }
    }

    fn answer(&mut self, request: Request) {
        // Whoever has asked may be gone.
        match request {
            Request::Report(answer) => drop(answer.send(self.told())),
            Request::Switch(probe, on, answer) => drop(answer.send(self.switch(probe, on))),
            Request::Syscalls(unit, on, answer) => {
                let switched = self
                    .observer
                    .follow()
                    .map_err(SwitchError::from)
                    .and_then(|()| self.observer.observe_syscalls(&unit, on));
                drop(answer.send(switched));
            }
        }
    }

    fn switch(&mut self, probe: Probe, on: bool) -> Result<(), SwitchError> {
        if on {
            self.observer.switch_on(probe)?;
        } else {
            self.observer.switch_off(probe);
        }
        Ok(())
    }

    fn told(&mut self) -> Result<Told, String> {
        self.follow();
        let snapshot = self
            .observer
            .snapshot()
            .map_err(|error| format!("cannot read the kernel's tables: {error}"))?;
        Ok(Told {
            report: report::report(
                &snapshot,
                &mut self.cgroups,
                &self.listeners,
                &mut self.devices,
            ),
            snapshot: Arc::new(snapshot),
            states: self.observer.states(),
            unwritten: self.unwritten,
        })
    }

    /// Notices new units and listening sockets. What cannot be read now is tried again in a second.
    fn follow(&mut self) {
        if let Err(error) = self.observer.follow() {
            debug!(%error, "cannot follow the units");
        }
        let Some(sockets) = &mut self.sockets else {
            return;
        };
        match sockets.listeners() {
            Ok(found) => self.take_listeners(&found),
            Err(error) => debug!(%error, "cannot list the listening sockets"),
        }
    }

    fn take_listeners(&mut self, found: &[Listener]) {
        let ports = found
            .iter()
            .map(|listener| (listener.port, listener.cgroup_id))
            .collect();
        if let Err(error) = self.observer.set_listeners(&ports) {
            debug!(%error, "cannot tell the programs the listening sockets");
        }
        let of_units: Vec<(String, Listener)> = found
            .iter()
            .filter_map(|listener| {
                let unit = self.observer.unit_of_cgroup(listener.cgroup_id)?;
                Some((unit.to_owned(), *listener))
            })
            .collect();
        self.listeners.take(&of_units);
    }

    fn tell_events(&mut self) {
        let events = self.observer.events(EVENTS);
        if events
            .iter()
            .any(|event| self.observer.unit_name(event.unit).is_none())
        {
            // A unit that was made since the last look.
            if let Err(error) = self.observer.follow() {
                debug!(%error, "cannot follow the units");
            }
        }
        for event in &events {
            let (Some(unit), Some(what)) =
                (self.observer.unit_name(event.unit), happened::told(event))
            else {
                continue;
            };
            let told = KernelEvent {
                at_unix_ms: happened::unix_ms(event.at_ns),
                unit: unit.to_owned(),
                what,
            };
            if self.lines < LINES {
                self.lines += u32::from(happened::write(&told));
            } else {
                self.unwritten += 1;
            }
            // An error means that nobody listens.
            let _ = self.events.send(Arc::new(told));
        }
    }
}
