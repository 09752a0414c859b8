//! A lab that is a few variables, for tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use observastack_spec::{
    drill::score::Impact,
    fault::FaultRequest,
    scenario::{
        action::{Config, FileState, Load, Rate},
        check::{Check, ShareBound},
        sealed::Shortcut,
    },
};

use crate::lab::{Found, Lab, LabError, Undo};

/// What the lab is like.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) load: Option<String>,
    pub(crate) faults: BTreeMap<u64, FaultRequest>,
    pub(crate) configured: BTreeMap<String, String>,
    /// Statements that were not taken back.
    pub(crate) changed: Vec<String>,
    pub(crate) shortcuts: Vec<(Shortcut, String)>,
    /// What is wrong with the shop's data.
    pub(crate) invariants: Vec<String>,
    /// A capability that the machine lacks.
    pub(crate) lacks: Option<&'static str>,
    /// MiB of memory; nothing stands for plenty.
    pub(crate) memory_mib: Option<u64>,
    /// What does not work.
    pub(crate) fails: Option<&'static str>,
    /// What a controller has to remember.
    pub(crate) usual: String,
    /// Sessions that were kept open.
    pub(crate) held: usize,
    /// Units that somebody has stopped.
    pub(crate) stopped: BTreeSet<String>,
    /// A rate that was set.
    pub(crate) rate: Option<f64>,
    /// What statements take back, where that cannot be told from themselves.
    pub(crate) undoes: BTreeMap<String, String>,
    /// Whether everything that is done to it breaks it, until it is repaired; only a fault does otherwise.
    pub(crate) is_fragile: bool,
    /// Whether somebody has repaired it.
    pub(crate) is_repaired: bool,
    next: u64,
}

impl Fake {
    /// Whether users notice anything.
    pub(crate) fn is_broken(&self) -> bool {
        if self.is_fragile {
            let is_changed =
                !self.faults.is_empty() || !self.configured.is_empty() || !self.changed.is_empty();
            return is_changed && !self.is_repaired;
        }
        let is_asked = !self.configured.contains_key("gateway");
        !self.faults.is_empty() && is_asked && self.fails != Some("act")
    }

    /// The machine begins anew: the kernel has forgotten the faults, and nobody makes load.
    pub(crate) fn reboot(&mut self) {
        self.faults.clear();
        self.held = 0;
        self.load = None;
        self.rate = None;
        self.stopped.clear();
    }

    pub(crate) fn assert_clean(&self) {
        let left = (
            (&self.load, self.rate, &self.stopped, self.held),
            (&self.faults, &self.configured, &self.changed),
        );
        assert!(
            self.load.is_none()
                && self.rate.is_none()
                && self.stopped.is_empty()
                && self.faults.is_empty()
                && self.configured.is_empty()
                && self.changed.is_empty()
                && self.held == 0,
            "left over: {left:?}"
        );
    }

    fn or_fail(&self, what: &'static str) -> Result<(), LabError> {
        if self.fails == Some(what) {
            return Err(LabError {
                what: what.to_owned(),
                reason: "it does not work".to_owned(),
            });
        }
        Ok(())
    }
}

/// The same, shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeLab(Arc<Mutex<Fake>>);

impl FakeLab {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Fake) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

fn within(bound: &ShareBound, share: f64) -> (bool, String) {
    (bound.holds(share), format!("{share}"))
}

impl Lab for FakeLab {
    async fn lacks(&self, capabilities: &[&str], _: &[&str]) -> Result<Vec<String>, LabError> {
        let lacks = self.with(|lab| lab.lacks);
        let lacks = capabilities.iter().filter(|name| lacks == Some(**name));
        Ok(lacks
            .map(|name| format!("{name}: it is not there"))
            .collect())
    }

    async fn memory_mib(&self) -> Result<u64, LabError> {
        self.with(|lab| {
            lab.or_fail("memory")?;
            Ok(lab.memory_mib.unwrap_or(1 << 20))
        })
    }

    async fn begin_load(&self, load: &Load) -> Result<(), LabError> {
        self.with(|lab| {
            lab.or_fail("begin_load")?;
            lab.load = Some(load.shape.value.clone());
            lab.rate = load.rate.as_ref().map(|rate| rate.value);
            lab.usual = "as it was".to_owned();
            Ok(())
        })
    }

    async fn set_rate(&self, rate: &Rate) -> Result<(), LabError> {
        self.with(|lab| lab.rate = Some(rate.per_second.value));
        Ok(())
    }

    async fn stop_load(&self) -> Result<(), LabError> {
        self.with(|lab| {
            lab.load = None;
            lab.rate = None;
        });
        Ok(())
    }

    async fn configure(&self, config: &Config) -> Result<(), LabError> {
        self.with(|lab| {
            let set = format!("{:?}", config.set.value);
            lab.configured.insert(config.service.value.clone(), set);
        });
        Ok(())
    }

    async fn restart(&self, unit: &str) -> Result<(), LabError> {
        self.with(|lab| lab.stopped.remove(unit));
        Ok(())
    }

    async fn inject(&self, fault: FaultRequest) -> Result<u64, LabError> {
        self.with(|lab| {
            lab.or_fail("inject")?;
            lab.next += 1;
            lab.faults.insert(lab.next, fault);
            Ok(lab.next)
        })
    }

    async fn clear(&self, id: u64) -> Result<(), LabError> {
        self.with(|lab| lab.faults.remove(&id));
        Ok(())
    }

    async fn sql(&self, statements: &str, hold: bool) -> Result<(), LabError> {
        self.with(|lab| {
            lab.changed.push(statements.to_owned());
            lab.held += usize::from(hold);
        });
        Ok(())
    }

    async fn file(&self, _: &FileState) -> Result<(), LabError> {
        Ok(())
    }

    async fn check(
        &self,
        check: &Check,
        faults: &BTreeMap<String, u64>,
    ) -> Result<Found, LabError> {
        self.with(|lab| {
            lab.or_fail("check")?;
            let is_broken = lab.is_broken() || lab.fails == Some("baseline");
            let (holds, found) = match check {
                Check::Latency(bound) => {
                    let took_ms: u128 = if is_broken { 800 } else { 50 };
                    let below = bound.below.as_ref().map(|time| time.get().as_millis());
                    let at_least = bound.at_least.as_ref().map(|time| time.get().as_millis());
                    let holds = below.is_none_or(|below| took_ms < below)
                        && at_least.is_none_or(|least| took_ms >= least);
                    (holds, format!("{took_ms} ms"))
                }
                Check::Goodput(bound) if lab.is_fragile => {
                    within(bound, if is_broken { 0.5 } else { 1.0 })
                }
                Check::Errors(bound) if lab.is_fragile => {
                    within(bound, if is_broken { 0.5 } else { 0.0 })
                }
                Check::Active(unit) => (!lab.stopped.contains(unit.as_str()), String::new()),
                Check::Acted(name) => {
                    let id = faults.get(name.as_str());
                    let acts = id.is_some_and(|id| lab.faults.contains_key(id));
                    (acts, format!("{acts}"))
                }
                _ => (lab.load.is_some(), "as usual".to_owned()),
            };
            Ok(Found { holds, found })
        })
    }

    async fn in_force(&self) -> Result<Vec<u64>, LabError> {
        Ok(self.with(|lab| lab.faults.keys().copied().collect()))
    }

    fn usual(&self) -> serde_json::Value {
        self.with(|lab| lab.usual.clone().into())
    }

    fn recall(&self, usual: &serde_json::Value) {
        let usual = usual.as_str().unwrap_or_default().to_owned();
        self.with(|lab| lab.usual = usual);
    }

    async fn impact(&self) -> Result<Impact, LabError> {
        Ok(Impact {
            due: 1000,
            failed: 0,
            slow: 20,
        })
    }

    async fn broken_invariants(&self) -> Result<Vec<String>, LabError> {
        Ok(self.with(|lab| lab.invariants.clone()))
    }

    async fn shortcuts(&self) -> Result<Vec<(Shortcut, String)>, LabError> {
        Ok(self.with(|lab| lab.shortcuts.clone()))
    }

    async fn reset(&self, undo: &[Undo]) -> Result<(), LabError> {
        self.with(|lab| {
            // Some of it is done before it fails, as it would be.
            lab.faults.clear();
            lab.or_fail("reset")?;
            lab.load = None;
            lab.rate = None;
            lab.held = 0;
            lab.configured.clear();
            lab.shortcuts.clear();
            lab.stopped.clear();
            lab.is_repaired = false;
            for one in undo {
                if let Undo::Sql { statements } = one {
                    let known = lab.undoes.get(statements).cloned();
                    let taken = known.unwrap_or_else(|| statements.replace("CREATE", "DROP"));
                    lab.changed.retain(|done| *done != taken);
                }
            }
            Ok(())
        })
    }
}
