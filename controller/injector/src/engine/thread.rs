//! The engine's loop.

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
use observastack_loader::{FaultKind, Loader, clock::monotonic_ns};
use observastack_spec::{
    api::{Decision, FaultList, FaultState, FaultStatus},
    fault::FaultSpec,
};
use tokio::sync::broadcast;
use tracing::{debug, info, warn};

use super::{
    faults::{Active, Faults, status_of},
    handle::{Engine, EngineError, Message, Refusals},
    last_id::LastId,
};
use crate::lowering;

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
    /// Where the last fault's id is kept.
    pub(crate) last_id: PathBuf,
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
                ids: LastId::read(options.last_id),
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
    ids: LastId,
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
        for status in self.clear_all() {
            info!(fault = status.id, "fault cleared at shutdown");
        }
        debug!("engine stopped");
    }

    /// What is due in every turn, in order of urgency.
    fn turn(&mut self, now_ns: u64) {
        let Ok(loader) = &mut self.loader else { return };
        if self.ended_ns != 0 && now_ns - self.ended_ns >= DETACH_NS {
            for kind in loader.detach_idle() {
                debug!(fault = kind.name(), "programs detached");
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
            match loader.follow_slices() {
                Ok(true) => info!("a target slice was made anew; its programs follow"),
                Ok(false) => {}
                Err(error) => warn!(%error, "cannot follow the target slices"),
            }
            let lost = loader.lost_cgroups();
            if lost > self.lost {
                warn!(lost, "more cgroups than fit: faults miss some processes");
                self.lost = lost;
            }
            self.followed_ns = now_ns;
        }
        for decision in loader.poll_decisions() {
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
            let _ = self.decisions.send(Decision {
                fault,
                event,
                n,
                port,
                faulted,
            });
        }
        for id in self.faults.expired(now_ns) {
            self.end(id, FaultState::Expired);
        }
    }

    fn handle(&mut self, message: Message) {
        // A caller that has gone away does not wait for its answer.
        match message {
            Message::Inject {
                spec,
                may_be_stopped,
                reply,
            } => {
                let _ = reply.send(self.inject(spec, may_be_stopped));
            }
            Message::Clear { id, reply } => {
                let _ = reply.send(
                    self.end(id, FaultState::Cleared)
                        .ok_or(EngineError::NoSuchFault(id)),
                );
            }
            Message::ClearAll { reply } => {
                let _ = reply.send(self.clear_all());
            }
            Message::List { reply } => {
                let _ = reply.send(self.list());
            }
            Message::Refusals { reply } => {
                let _ = reply.send(self.refusals());
            }
        }
    }

    fn inject(
        &mut self,
        spec: FaultSpec,
        may_be_stopped: bool,
    ) -> Result<FaultStatus, EngineError> {
        let loader = self
            .loader
            .as_mut()
            .map_err(|reason| EngineError::NotLoaded(reason.clone()))?;
        if !may_be_stopped
            && !loader
                .unit_paths(&spec.unit)
                .iter()
                .any(|path| path.is_dir())
        {
            return Err(EngineError::NotRunning(spec.unit));
        }
        let id = self.ids.next();
        let now_ns = monotonic_ns();
        // The lease first: the rule's first event must not be skipped.
        loader
            .set_lease(now_ns + LEASE_NS)
            .map_err(observastack_loader::ArmError::from)?;
        self.renewed_ns = now_ns;
        let rule = lowering::lower(id, &spec, now_ns);
        let armed = loader
            .arm(&spec.unit, &rule)
            .inspect_err(|_| self.ended_ns = now_ns)?;
        let fault = Active {
            spec,
            armed,
            end_ns: rule.head().end_ns,
            since_unix_ms: unix_ms(),
        };
        let status = status_of(id, &fault, RuleCounts::default(), now_ns);
        self.faults.insert(id, fault);
        Ok(status)
    }

    /// Takes a fault's rule out of the kernel; `None` where there is no such active fault.
    fn end(&mut self, id: u64, state: FaultState) -> Option<FaultStatus> {
        let armed = self.faults.get(id)?.armed;
        let counts = match &mut self.loader {
            Ok(loader) => loader.disarm(armed).unwrap_or_else(|error| {
                warn!(fault = id, %error, "cannot take the rule out of the kernel; its end time still holds");
                RuleCounts::default()
            }),
            Err(_) => RuleCounts::default(),
        };
        let status = self.faults.end(id, state, counts)?;
        info!(
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
        self.ended_ns = monotonic_ns();
        if self.faults.is_idle()
            && let Ok(loader) = &mut self.loader
        {
            let _ = loader.set_lease(0);
        }
        Some(status)
    }

    fn clear_all(&mut self) -> Vec<FaultStatus> {
        let ids: Vec<u64> = self.faults.active().map(|(id, _)| id).collect();
        ids.into_iter()
            .filter_map(|id| self.end(id, FaultState::Cleared))
            .collect()
    }

    fn list(&self) -> FaultList {
        let now_ns = monotonic_ns();
        let counts_of = |fault: &Active| match &self.loader {
            Ok(loader) => loader.counts(fault.armed).unwrap_or_default(),
            Err(_) => RuleCounts::default(),
        };
        let active = self
            .faults
            .active()
            .map(|(id, fault)| status_of(id, fault, counts_of(fault), now_ns));
        let mut faults: Vec<FaultStatus> = active.collect();
        faults.reverse();
        faults.extend(self.faults.ended().cloned());
        FaultList { faults }
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
mod tests {
    use observastack_spec::{api::ErrorCode, fault::Fault};

    use super::*;
    use crate::api::Failure;

    /// An engine on a machine where nothing can be loaded, like a kernel without BTF.
    fn engine_without_programs() -> (Engine, thread::JoinHandle<()>) {
        spawn(Options {
            object: PathBuf::from("/nonexistent/observastack.bpf.o"),
            cgroup_root: PathBuf::from("/sys/fs/cgroup"),
            slices: vec!["observastack-sut.slice".to_owned()],
            last_id: PathBuf::from("/nonexistent/last-fault-id"),
        })
        .unwrap()
    }

    fn spec() -> FaultSpec {
        FaultSpec {
            unit: "shop.service".to_owned(),
            fault: Fault::PacketLoss { port: None },
            for_ms: 1000,
            probability: 1.0,
            seed: 1,
            verbose: false,
        }
    }

    #[tokio::test]
    async fn a_kernel_without_the_capability_refuses_with_the_reason_and_keeps_nothing() {
        let (engine, thread) = engine_without_programs();
        let error = engine.inject(spec(), true).await.unwrap_err();
        assert!(matches!(error, EngineError::NotLoaded(_)), "{error}");
        let failure = Failure::from(error);
        assert_eq!(failure.status, 501);
        assert_eq!(failure.body.code, ErrorCode::Unsupported);
        assert!(
            failure
                .body
                .error
                .contains("/nonexistent/observastack.bpf.o"),
            "{}",
            failure.body.error
        );
        assert!(
            failure.body.error.contains("doctor"),
            "{}",
            failure.body.error
        );
        assert!(engine.list().await.unwrap().faults.is_empty());
        assert!(engine.refusals().await.unwrap().all.is_some());
        drop(engine);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_fault_that_does_not_exist_cannot_be_cleared() {
        let (engine, _thread) = engine_without_programs();
        assert!(matches!(
            engine.clear(7).await,
            Err(EngineError::NoSuchFault(7))
        ));
        assert!(engine.clear_all().await.unwrap().is_empty());
    }
}
