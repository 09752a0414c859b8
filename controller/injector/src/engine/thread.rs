//! The engine's loop.

mod panicking;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, SystemTime},
};

use observastack_abi::counts::RuleCounts;
use observastack_loader::{ArmError, FaultKind, Loader, clock::monotonic_ns};
use observastack_spec::api::{Counts, Decision, FaultList, FaultState, FaultStatus};
use tokio::sync::broadcast;
use tracing::{debug, info, warn};

use super::{
    faults::{Active, Faults, counts_of, status_of},
    handle::{Begun, Engine, EngineError, Held, Message, Refusals},
    last_id::LastId,
    totals::{Series, Totals},
};
use crate::host::{
    hands::{Hands, Pending},
    panic,
};

/// How long the kernel lets faults act without a sign of life from here: they are gone this long after a SIGSTOP.
const LEASE_NS: u64 = 90_000_000;
/// How often the lease is renewed while there are faults.
const RENEWAL: Duration = Duration::from_millis(30);
/// How often the loop turns without any.
const IDLE: Duration = Duration::from_secs(1);
/// How often slices that systemd may have made anew are looked for.
const FOLLOW_NS: u64 = 250_000_000;
/// How long after a fault has ended the programs of faults that have no rule are detached.
const DETACH_NS: u64 = 10_000_000_000;
/// Messages that wait; the API serves fewer connections at once.
const QUEUE: usize = 256;

/// What the engine needs to start.
pub(crate) struct Options {
    pub(crate) object: PathBuf,
    pub(crate) cgroup_root: PathBuf,
    pub(crate) slices: Vec<String>,
    /// Where the last fault's id and the panic file are kept.
    pub(crate) state_dir: PathBuf,
    /// Who keeps up what the kernel doesn't.
    pub(crate) hands: Hands,
}

/// Loads the programs and starts the thread. A kernel that refuses them all gives an engine that refuses every fault
/// with the reason, so that `doctor` can be asked why.
pub(crate) fn spawn(options: Options) -> std::io::Result<(Engine, thread::JoinHandle<()>)> {
    let (messages, inbox) = mpsc::sync_channel(QUEUE);
    let (decisions, _) = broadcast::channel(4096);
    let beat_ns = Arc::new(AtomicU64::new(monotonic_ns()));
    let engine = Engine {
        messages,
        decisions: decisions.clone(),
        beat_ns: Arc::clone(&beat_ns),
        cgroup_root: options.cgroup_root.clone(),
        slices: options.slices.clone(),
    };
    let (loaded, ready) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            let loader = Loader::load(&options.object, &options.cgroup_root, &options.slices)
                .map_err(|error| {
                    warn!(%error, "no fault can be injected on this kernel");
                    error.to_string()
                });
            if let Ok(loader) = &loader {
                for kind in FaultKind::ALL {
                    if let Some(reason) = loader.refusal(kind) {
                        warn!(fault = kind.name(), reason, "this kernel cannot do a fault");
                    }
                }
            }
            let _ = loaded.send(());
            Worker {
                loader,
                faults: Faults::default(),
                totals: Totals::default(),
                ids: LastId::read(options.state_dir.join("last-fault-id")),
                panicked: panic::read(&options.state_dir),
                state_dir: options.state_dir,
                cgroup_root: options.cgroup_root,
                slices: options.slices,
                hands: options.hands,
                reverting: Vec::new(),
                lost_by_hands: None,
                decisions,
                renewed_ns: 0,
                followed_ns: 0,
                ended_ns: 0,
                lost: 0,
            }
            .run(&inbox, &beat_ns);
        })?;
    // Whoever waits for readiness must not see a fault refused because nothing is loaded yet.
    let _ = ready.recv();
    Ok((engine, thread))
}

struct Worker {
    loader: Result<Loader, String>,
    faults: Faults,
    totals: Totals,
    ids: LastId,
    state_dir: PathBuf,
    cgroup_root: PathBuf,
    slices: Vec<String>,
    panicked: Option<panic::Panic>,
    hands: Hands,
    /// What the hands were told to revert without anybody waiting for it.
    reverting: Vec<(u64, Pending<()>)>,
    /// Which faults the hands have lost to somebody else: asked for now and then.
    lost_by_hands: Option<Pending<Vec<u64>>>,
    decisions: broadcast::Sender<Decision>,
    renewed_ns: u64,
    followed_ns: u64,
    /// When a fault ended, or could not begin, and programs may be attached for nothing; 0 when that is settled.
    ended_ns: u64,
    lost: u64,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Message>, beat_ns: &AtomicU64) {
        loop {
            let wait = if self.faults.is_idle() { IDLE } else { RENEWAL };
            match inbox.recv_timeout(wait) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now_ns = monotonic_ns();
            beat_ns.store(now_ns, Ordering::Relaxed);
            self.turn(now_ns);
        }
        for status in self.end_all(FaultState::Cleared) {
            info!(fault = status.id, "fault cleared at shutdown");
        }
        debug!("engine stopped");
    }

    /// What is due in every turn, in order of urgency.
    fn turn(&mut self, now_ns: u64) {
        self.look_after_programs(now_ns);
        for id in self.faults.expired(now_ns) {
            self.end_and_revert(id, FaultState::Expired);
        }
        self.look_after_hands(now_ns);
    }

    fn look_after_programs(&mut self, now_ns: u64) {
        let Ok(loader) = &mut self.loader else { return };
        if self.ended_ns != 0 && now_ns - self.ended_ns >= DETACH_NS {
            for program in loader.detach_idle() {
                debug!(program, "detached");
            }
            self.ended_ns = 0;
        }
        if self.faults.is_idle() {
            return;
        }
        if now_ns - self.renewed_ns >= nanoseconds(RENEWAL) {
            if let Err(error) = loader.set_lease(now_ns + LEASE_NS) {
                warn!(%error, "cannot renew the lease: faults stop acting");
            }
            self.renewed_ns = now_ns;
        }
        if now_ns - self.followed_ns >= FOLLOW_NS {
            match loader.follow() {
                Ok(true) => info!("a target slice or an interface is new; the programs follow"),
                Ok(false) => {}
                Err(error) => warn!(%error, "cannot follow the target slices"),
            }
            let lost = loader.lost_cgroups();
            if lost > self.lost {
                warn!(lost, "more cgroups than fit: faults miss some processes");
                self.lost = lost;
            }
        }
        for decision in loader.poll_decisions() {
            tell(&self.decisions, decision);
        }
    }

    /// Notices what the hands could not revert, and what others have reverted behind our back.
    fn look_after_hands(&mut self, now_ns: u64) {
        self.reverting
            .retain_mut(|(id, pending)| match pending.poll() {
                None => true,
                Some(Ok(())) => false,
                Some(Err(error)) => {
                    warn!(fault = *id, %error, "fault {id} is not reverted; the guard tries again");
                    false
                }
            });
        if let Some(pending) = &mut self.lost_by_hands
            && let Some(answer) = pending.poll()
        {
            self.lost_by_hands = None;
            for id in answer.unwrap_or_default() {
                // The changes are gone already; its rule, if it has one, goes now.
                self.end(id, FaultState::Reverted);
            }
        }
        if now_ns - self.followed_ns >= FOLLOW_NS {
            self.followed_ns = now_ns;
            if self.lost_by_hands.is_none()
                && self
                    .faults
                    .active()
                    .any(|(_, fault)| fault.by_hands.is_some())
            {
                self.lost_by_hands = Some(self.hands.lost());
            }
        }
    }

    fn handle(&mut self, message: Message) {
        // A caller that has gone away does not wait for its answer.
        match message {
            Message::Begin {
                unit,
                for_ms,
                may_be_stopped,
                reply,
            } => {
                let _ = reply.send(self.begin(unit, for_ms, may_be_stopped));
            }
            Message::Hold { held, reply } => {
                let _ = reply.send(self.hold(*held));
            }
            Message::End { id, reply } => {
                let ended = self.end(id, FaultState::Cleared);
                let _ = reply.send(ended.ok_or(EngineError::NoSuchFault(id)));
            }
            Message::EndAll { state, reply } => {
                let _ = reply.send(self.end_all(state));
            }
            Message::List { reply } => {
                let _ = reply.send(self.list());
            }
            Message::Refusals { reply } => {
                let _ = reply.send(self.refusals());
            }
            Message::Series { reply } => {
                let _ = reply.send(self.series());
            }
            Message::Panic { by_uid, reply } => {
                let _ = reply.send(self.panic(by_uid));
            }
            Message::LiftPanic { reply } => {
                let _ = reply.send(self.lift_panic());
            }
            Message::PanicStatus { reply } => {
                let _ = reply.send(self.panic_status(0));
            }
        }
    }

    fn begin(
        &mut self,
        unit: String,
        for_ms: u64,
        may_be_stopped: bool,
    ) -> Result<Begun, EngineError> {
        self.refuse_in_panic()?;
        let paths = observastack_loader::unit_paths(&self.cgroup_root, &self.slices, &unit);
        if !may_be_stopped && !paths.iter().any(|path| path.is_dir()) {
            return Err(EngineError::NotRunning(unit));
        }
        Ok(Begun {
            id: self.ids.next(),
            end_ns: monotonic_ns().saturating_add(nanoseconds(Duration::from_millis(for_ms))),
        })
    }

    fn hold(&mut self, held: Held) -> Result<FaultStatus, EngineError> {
        self.refuse_in_panic()?;
        let Held {
            begun: Begun { id, end_ns },
            spec,
            rule,
            by_hands,
        } = held;
        let now_ns = monotonic_ns();
        let armed = match &rule {
            None => None,
            Some(rule) => {
                let loader = self
                    .loader
                    .as_mut()
                    .map_err(|reason| EngineError::NotLoaded(reason.clone()))?;
                // The lease first: the rule's first event must not be skipped.
                loader
                    .set_lease(now_ns + LEASE_NS)
                    .map_err(ArmError::from)?;
                self.renewed_ns = now_ns;
                let armed = loader
                    .arm(&spec.unit, rule)
                    .inspect_err(|_| self.ended_ns = now_ns)?;
                Some(armed)
            }
        };
        let fault = Active {
            spec,
            armed,
            by_hands,
            end_ns,
            since_unix_ms: unix_ms(),
        };
        let status = status_of(id, &fault, Counts::default(), now_ns);
        self.faults.insert(id, fault);
        Ok(status)
    }

    /// Takes a fault's rule out of the kernel; `None` where there is no such active fault.
    fn end(&mut self, id: u64, state: FaultState) -> Option<FaultStatus> {
        let fault = self.faults.get(id)?;
        let (armed, by_hands) = (fault.armed, fault.by_hands.clone());
        let rule = match (&mut self.loader, armed) {
            (Ok(loader), Some(armed)) => loader.disarm(armed).unwrap_or_else(|error| {
                warn!(fault = id, %error, "cannot take the rule out of the kernel; its end time still holds");
                RuleCounts::default()
            }),
            _ => RuleCounts::default(),
        };
        let counts = counts_of(rule, by_hands.as_deref());
        let status = self.faults.end(id, state, counts)?;
        self.totals.add(&status);
        if status.spec.covert {
            info!(audit = "end", fault = id, state = ?state, "fault {id} ended");
        } else {
            info!(
                audit = "end",
                fault = id,
                unit = status.spec.unit,
                kind = status.spec.fault.kind(),
                state = ?state,
                matched = status.counts.matched,
                injected = status.counts.injected,
                skipped = status.counts.skipped,
                "fault {id} ended: {} on {}",
                status.spec.fault.kind(),
                status.spec.unit
            );
        }
        self.ended_ns = monotonic_ns();
        if self.faults.is_idle()
            && let Ok(loader) = &mut self.loader
        {
            let _ = loader.set_lease(0);
        }
        Some(status)
    }

    /// Ends a fault that nobody else will revert.
    fn end_and_revert(&mut self, id: u64, state: FaultState) {
        let by_hands = self
            .faults
            .get(id)
            .is_some_and(|fault| fault.by_hands.is_some());
        self.end(id, state);
        if by_hands {
            self.reverting.push((id, self.hands.revert(id)));
        }
    }

    /// The latest first: it was built on the earlier ones.
    fn end_all(&mut self, state: FaultState) -> Vec<FaultStatus> {
        let mut ids: Vec<u64> = self.faults.active().map(|(id, _)| id).collect();
        ids.reverse();
        ids.into_iter()
            .filter_map(|id| self.end(id, state))
            .collect()
    }

    fn active(&self) -> impl Iterator<Item = FaultStatus> {
        let now_ns = monotonic_ns();
        self.faults.active().map(move |(id, fault)| {
            let rule = match (&self.loader, fault.armed) {
                (Ok(loader), Some(armed)) => loader.counts(armed).unwrap_or_default(),
                _ => RuleCounts::default(),
            };
            status_of(
                id,
                fault,
                counts_of(rule, fault.by_hands.as_deref()),
                now_ns,
            )
        })
    }

    fn list(&self) -> FaultList {
        let mut faults: Vec<FaultStatus> = self.active().collect();
        faults.reverse();
        faults.extend(self.faults.ended().cloned());
        FaultList { faults }
    }

    fn series(&self) -> Vec<Series> {
        let active: Vec<FaultStatus> = self.active().collect();
        self.totals.series(active.iter())
    }

    fn refusals(&self) -> Refusals {
        match &self.loader {
            Err(reason) => Refusals {
                all: Some(reason.clone()),
                faults: Vec::new(),
            },
            Ok(loader) => {
                let refused =
                    |kind: FaultKind| loader.refusal(kind).map(|reason| (kind, reason.to_owned()));
                Refusals {
                    all: None,
                    faults: FaultKind::ALL.into_iter().filter_map(refused).collect(),
                }
            }
        }
    }
}

/// Logs a decision, and shows it to whoever listens.
fn tell(
    listeners: &broadcast::Sender<Decision>,
    decision: observastack_loader::decisions::Decision,
) {
    debug!(
        fault = decision.fault,
        event = decision.event,
        n = decision.n,
        port = decision.port,
        faulted = decision.faulted,
        "fault {}: {} {} {}",
        decision.fault,
        decision.event,
        decision.n,
        if decision.faulted {
            "faulted"
        } else {
            "left alone"
        }
    );
    let observastack_loader::decisions::Decision {
        fault,
        event,
        n,
        port,
        faulted,
    } = decision;
    // Nobody may be listening.
    let _ = listeners.send(Decision {
        fault,
        event,
        n,
        port,
        faulted,
    });
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
