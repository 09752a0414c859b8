//! The one thread that owns the loaded programs: it answers requests, decodes events as they come, and follows the units.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use observastack_loader::{
    observer::{Observer, Probe, ProbeState, Sampling, Snapshot, Stack, SwitchError, trace::flag},
    sock_diag::{Listener, SockDiag},
};
use observastack_spec::kernel::{KernelEvent, KernelReport, TraceEvent, Traceable};
use tokio::sync::{Mutex, OwnedMutexGuard, broadcast, oneshot};
use tracing::{debug, warn};

use crate::{
    cgroups::Cgroups, clock, happened, listeners::Listeners, names::Devices, report, traced,
};

/// Requests that wait; more are refused.
const REQUESTS: usize = 64;
/// Events that a listener may be behind.
const BEHIND: usize = 4096;
/// How often the ring buffer is read; it takes some 4,600 events between two looks.
const TICK: Duration = Duration::from_millis(20);
/// Events of traced units that a listener may be behind.
const TRACED_BEHIND: usize = 16_384;
/// Those of one look.
const TRACED: usize = 16_384;
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
    Count(
        String,
        Countable,
        bool,
        oneshot::Sender<Result<(), SwitchError>>,
    ),
    Profile(String, Sampling, oneshot::Sender<Result<(), SwitchError>>),
    EndProfile(oneshot::Sender<Result<Vec<Stack>, SwitchError>>),
    Trace(
        String,
        Traceable,
        bool,
        oneshot::Sender<Result<(), SwitchError>>,
    ),
}

/// What of a unit can be counted on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Countable {
    Syscalls,
    OffCpu,
}

/// Everything that is known now.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) report: KernelReport,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) states: Vec<ProbeState>,
    /// Why this kernel takes no samples of stacks.
    pub(crate) profile_refusal: Option<String>,
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
    traced: broadcast::Sender<Arc<TraceEvent>>,
    /// Held by the one profile that may be taken at a time.
    profiling: Arc<Mutex<()>>,
}

/// Starts the thread.
pub(crate) fn spawn(
    observer: Observer,
    cgroups: Cgroups,
) -> std::io::Result<(Engine, JoinHandle<()>)> {
    let (requests, received) = mpsc::sync_channel(REQUESTS);
    let (events, _) = broadcast::channel(BEHIND);
    let (traced, _) = broadcast::channel(TRACED_BEHIND);
    let mut worker = Worker {
        observer,
        cgroups,
        sockets: SockDiag::open()
            .inspect_err(|error| warn!(%error, "listening sockets cannot be listed"))
            .ok(),
        listeners: Listeners::default(),
        devices: Devices::default(),
        events: events.clone(),
        traced: traced.clone(),
        counted: BTreeSet::new(),
        traces: BTreeMap::new(),
        lines: 0,
        unwritten: 0,
    };
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || worker.run(&received))?;
    let engine = Engine {
        requests,
        events,
        traced,
        profiling: Arc::default(),
    };
    Ok((engine, thread))
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

    /// Counts something of a unit, or no longer.
    pub(crate) async fn count(
        &self,
        unit: String,
        what: Countable,
        on: bool,
    ) -> Result<(), EngineError> {
        Ok(self
            .ask(|answer| Request::Count(unit, what, on, answer))
            .await??)
    }

    /// Events from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<KernelEvent>> {
        self.events.subscribe()
    }

    /// Begins to take the stacks of a unit; `None` while another profile is taken.
    pub(crate) async fn profile(
        &self,
        unit: String,
        sampling: Sampling,
    ) -> Result<Option<Profiling>, EngineError> {
        let Ok(only) = Arc::clone(&self.profiling).try_lock_owned() else {
            return Ok(None);
        };
        // Made first: whoever goes away while the thread begins ends it all the same.
        let profiling = Profiling {
            engine: self.clone(),
            only: Some(only),
        };
        self.ask(|answer| Request::Profile(unit, sampling, answer))
            .await??;
        Ok(Some(profiling))
    }

    /// Begins to trace a unit, for one listener more.
    pub(crate) async fn trace(&self, unit: String, what: Traceable) -> Result<Trace, EngineError> {
        // Listened to first: nothing falls in between.
        let events = self.traced.subscribe();
        self.ask(|answer| Request::Trace(unit.clone(), what, true, answer))
            .await??;
        let guard = Tracing {
            engine: self.clone(),
            unit,
            what,
        };
        Ok((events, guard))
    }

    /// Ends the profile that goes on. It must not go on for want of a place in the queue.
    async fn end_profile(&self) -> Result<Vec<Stack>, EngineError> {
        loop {
            match self.ask(Request::EndProfile).await {
                Err(EngineError::Busy) => tokio::time::sleep(TICK).await,
                ended => return Ok(ended??),
            }
        }
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

/// Events of all traced units, and what ends one listener's trace when it is dropped.
pub(crate) type Trace = (broadcast::Receiver<Arc<TraceEvent>>, Tracing);

/// One listener's trace.
#[derive(Debug)]
pub(crate) struct Tracing {
    engine: Engine,
    pub(crate) unit: String,
    pub(crate) what: Traceable,
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let (engine, unit, what) = (self.engine.clone(), self.unit.clone(), self.what);
        // Outside of a runtime nobody is served any more, and the programs go with the process.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let ended = engine
                    .ask(|answer| Request::Trace(unit, what, false, answer))
                    .await;
                if let Err(error) = ended {
                    debug!(%error, "a trace goes on without a listener");
                }
            });
        }
    }
}

/// A profile that goes on. Dropped, it ends and what it has found is thrown away; the next one waits for that.
#[derive(Debug)]
pub(crate) struct Profiling {
    engine: Engine,
    only: Option<OwnedMutexGuard<()>>,
}

impl Profiling {
    /// Ends it; what was found.
    pub(crate) async fn end(mut self) -> Result<Vec<Stack>, EngineError> {
        let ended = self.engine.end_profile().await;
        // Ended, or the thread is: nothing is left to do.
        self.only = None;
        ended
    }
}

impl Drop for Profiling {
    fn drop(&mut self) {
        let Some(only) = self.only.take() else {
            return;
        };
        let engine = self.engine.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = engine.end_profile().await {
                    debug!(%error, "a profile was not ended well");
                }
                drop(only);
            });
        }
    }
}

struct Worker {
    observer: Observer,
    cgroups: Cgroups,
    sockets: Option<SockDiag>,
    listeners: Listeners,
    devices: Devices,
    events: broadcast::Sender<Arc<KernelEvent>>,
    traced: broadcast::Sender<Arc<TraceEvent>>,
    /// What is counted on demand.
    counted: BTreeSet<(String, Countable)>,
    /// How many listeners each trace has.
    traces: BTreeMap<(String, Traceable), usize>,
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
            self.tell_traced();
        }
    }

    fn answer(&mut self, request: Request) {
        // Whoever has asked may be gone.
        match request {
            Request::Report(answer) => drop(answer.send(self.told())),
            Request::Switch(probe, on, answer) => drop(answer.send(self.switch(probe, on))),
            Request::Count(unit, what, on, answer) => drop(answer.send(self.count(unit, what, on))),
            Request::Profile(unit, sampling, answer) => {
                drop(answer.send(self.profile(&unit, sampling)));
            }
            Request::EndProfile(answer) => drop(answer.send(self.observer.end_profile())),
            Request::Trace(unit, what, on, answer) => drop(answer.send(self.trace(unit, what, on))),
        }
    }

    /// Counts something of a unit, or no longer.
    fn count(&mut self, unit: String, what: Countable, on: bool) -> Result<(), SwitchError> {
        self.observer.follow()?;
        match what {
            Countable::Syscalls => self.observer.observe_syscalls(&unit, on)?,
            Countable::OffCpu => self.observer.observe_off_cpu(&unit, on)?,
        }
        if on {
            self.counted.insert((unit, what));
        } else {
            self.counted.remove(&(unit, what));
        }
        self.switch_on_demand()
    }

    /// Begins to take the stacks of a unit.
    fn profile(&mut self, unit: &str, sampling: Sampling) -> Result<(), SwitchError> {
        self.observer.follow()?;
        if sampling == Sampling::OffCpu {
            // It stays on afterwards: it is one of those that usually are.
            self.switch(Probe::RunQueue, true)?;
        }
        self.observer.profile(unit, sampling)
    }

    /// One listener more or less for a trace.
    fn trace(&mut self, unit: String, what: Traceable, on: bool) -> Result<(), SwitchError> {
        let key = (unit, what);
        let before = self.traces.get(&key).copied().unwrap_or(0);
        let now = if on {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        self.observer.follow()?;
        let told = self.observer.trace(&key.0, flag_of(what), now > 0);
        if on {
            told?;
        }
        if now > 0 {
            self.traces.insert(key, now);
        } else {
            // Its unit may have been forgotten meanwhile.
            self.traces.remove(&key);
        }
        self.switch_on_demand()
    }

    /// Has the probes on that somebody needs, and those off that nobody does.
    fn switch_on_demand(&mut self) -> Result<(), SwitchError> {
        let is_traced = |what| self.traces.keys().any(|(_, of)| *of == what);
        let calls = !self.counted.is_empty() || is_traced(Traceable::Syscalls);
        let sleeps = self.counted.iter().any(|(_, of)| *of == Countable::OffCpu);
        let (tcp, sched) = (
            is_traced(Traceable::Tcp),
            is_traced(Traceable::Sched) || sleeps,
        );
        self.switch(Probe::Syscalls, calls)?;
        self.switch(Probe::TraceTcp, tcp)?;
        if sched {
            // It stays on afterwards: it is one of those that usually are.
            self.switch(Probe::RunQueue, true)?;
        }
        Ok(())
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
            profile_refusal: self.observer.profile_refusal().map(str::to_owned),
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
                at_unix_ms: clock::ms(clock::since_1970(event.at_ns)),
                unit: unit.to_owned(),
                what,
            };
            if happened::is_worth_a_line(&told.what) {
                if self.lines < LINES {
                    self.lines += 1;
                    happened::write(&told);
                } else {
                    self.unwritten += 1;
                }
            }
            // An error means that nobody listens.
            let _ = self.events.send(Arc::new(told));
        }
    }

    fn tell_traced(&mut self) {
        for raw in self.observer.traced(TRACED) {
            let (Some(unit), Some(what)) = (self.observer.unit_name(raw.unit), traced::told(&raw))
            else {
                continue;
            };
            let event = TraceEvent {
                at_unix_us: clock::us(clock::since_1970(raw.at_ns)),
                unit: unit.to_owned(),
                what,
            };
            // An error means that nobody listens any more.
            let _ = self.traced.send(Arc::new(event));
        }
    }
}

/// What the programs are told.
fn flag_of(what: Traceable) -> u32 {
    match what {
        Traceable::Syscalls => flag::SYSCALLS,
        Traceable::Tcp => flag::TCP,
        Traceable::Sched => flag::SCHED,
    }
}
