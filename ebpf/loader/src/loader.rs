//! The loaded programs and everything that is done with them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc,
};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, MapData, MapError},
    programs::{ProgramError, RawTracePoint},
};
use aya_log::EbpfLogger;
use observastack_abi::counts::RuleCounts;

use crate::{
    cgroup::Slice,
    decisions::{Decision, DecisionSink},
    faults::{ConnectError, FaultKind, PacketLoss, Rule},
    memory,
    offsets::{self, OffsetError},
    units::{UnitError, UnitTable},
};

/// Raw tracepoints that keep the unit table current; programs and tracepoints have the same names.
const UNIT_TRACEPOINTS: [&str; 2] = ["cgroup_mkdir", "cgroup_rmdir"];

/// How many decisions wait for [`Loader::poll_decisions`] before more are dropped.
const DECISIONS: usize = 4096;

/// Why the programs could not be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object file is missing or unreadable.
    #[error("cannot read the eBPF object {path}: {source}")]
    Object {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The kernel's BTF doesn't tell what the programs need.
    #[error(transparent)]
    Offsets(#[from] OffsetError),
    /// The kernel refused the object's maps or BTF.
    #[error("the kernel refuses the eBPF object: {0}")]
    Ebpf(#[source] Box<EbpfError>),
    /// The object is not ours, or of another version.
    #[error("the eBPF object has no `{0}`: it does not belong to this version")]
    Incomplete(&'static str),
    /// The kernel refused the programs that find units.
    #[error("the kernel refuses the program `{program}`: {source}")]
    Units {
        /// The program.
        program: &'static str,
        /// What the kernel said.
        source: Box<ProgramError>,
    },
    /// A map could not be written.
    #[error("cannot set up the kernel's tables: {0}")]
    Map(#[from] MapError),
}

/// Why a rule could not be armed. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// This kernel can't do this fault.
    #[error("this kernel cannot do {fault}: {reason}", fault = .fault.name())]
    Unsupported {
        /// The fault.
        fault: FaultKind,
        /// What the kernel said when its programs were loaded.
        reason: String,
    },
    /// None of the target slices has a cgroup.
    #[error("no target slice is running (looked for {0})")]
    NoSlice(String),
    /// The unit's name is too long, or too many units have faults.
    #[error("{0}")]
    Unit(String),
    /// The unit has as many rules of this fault as fit.
    #[error("`{unit}` has {limit} {fault} faults already", fault = .fault.name())]
    TooManyRules {
        /// The unit.
        unit: String,
        /// The fault.
        fault: FaultKind,
        /// How many fit.
        limit: u32,
    },
    /// The kernel refused to attach the programs.
    #[error("cannot attach {fault} to {slice}: {reason}", fault = .fault.name())]
    Attach {
        /// The fault.
        fault: FaultKind,
        /// The slice.
        slice: String,
        /// What the kernel said.
        reason: String,
    },
    /// A map could not be read or written.
    #[error("cannot write the rule: {0}")]
    Map(#[from] MapError),
}

/// An armed rule: what [`Loader::disarm`] and [`Loader::counts`] need to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    kind: FaultKind,
    unit: u32,
    slot: u32,
}

impl Armed {
    /// The rule's fault.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }
}

/// The loaded programs, their maps, and the slices that they are attached to. Dropping it detaches everything.
///
/// Needs a kernel from 6.1 with BTF, `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`.
pub struct Loader {
    // Links go before the programs that they belong to.
    packet_loss: PacketLoss,
    connect_error: ConnectError,
    units: UnitTable,
    lease: Array<MapData, u64>,
    logger: EbpfLogger<DecisionSink>,
    decisions: mpsc::Receiver<Decision>,
    slices: Vec<Slice>,
    refused: BTreeMap<FaultKind, String>,
    ebpf: Ebpf,
}

impl Loader {
    /// Loads the object, has the kernel verify every program, and starts to follow the units of `slices`.
    ///
    /// A fault whose programs this kernel refuses is not an error: [`Self::refusal`] tells why, and arming it fails.
    pub fn load(object: &Path, cgroup_root: &Path, slices: &[String]) -> Result<Self, LoadError> {
        let bytes = fs::read(object).map_err(|source| LoadError::Object {
            path: object.to_owned(),
            source,
        })?;
        let offsets = offsets::cgroup_offsets(Path::new(offsets::KERNEL_BTF))?;
        let mut ebpf = EbpfLoader::new()
            .override_global("CGROUP_OFFSETS", &offsets, true)
            .load(&bytes)
            .map_err(|error| LoadError::Ebpf(Box::new(error)))?;

        let mut refused = BTreeMap::new();
        for kind in FaultKind::ALL {
            let loaded = match kind {
                FaultKind::PacketLoss => PacketLoss::load(&mut ebpf),
                FaultKind::ConnectError => ConnectError::load(&mut ebpf),
            };
            if let Err(error) = loaded {
                refused.insert(kind, chain(&error));
            }
        }

        let (sender, decisions) = mpsc::sync_channel(DECISIONS);
        let logger = EbpfLogger::init_with_logger(&mut ebpf, DecisionSink(sender))
            .map_err(|_| LoadError::Incomplete("AYA_LOGS"))?;
        let units = UnitTable::take(&mut ebpf).ok_or(LoadError::Incomplete("unit table"))?;
        let lease = ebpf
            .take_map("LEASE")
            .and_then(|map| Array::try_from(map).ok())
            .ok_or(LoadError::Incomplete("LEASE"))?;
        let packet_loss =
            PacketLoss::take(&mut ebpf).ok_or(LoadError::Incomplete("packet_loss"))?;
        let connect_error =
            ConnectError::take(&mut ebpf).ok_or(LoadError::Incomplete("connect_error"))?;
        for program in UNIT_TRACEPOINTS {
            attach_tracepoint(&mut ebpf, program).map_err(|source| LoadError::Units {
                program,
                source: Box::new(source),
            })?;
        }

        let slices = slices
            .iter()
            .map(|name| Slice::new(cgroup_root, name))
            .collect();
        let mut loader = Self {
            packet_loss,
            connect_error,
            units,
            lease,
            logger,
            decisions,
            slices,
            refused,
            ebpf,
        };
        loader.follow_slices()?;
        memory::give_back();
        Ok(loader)
    }

    /// Why this kernel refused a fault's programs, `None` where it took them.
    pub fn refusal(&self, kind: FaultKind) -> Option<&str> {
        self.refused.get(&kind).map(String::as_str)
    }

    /// Where a unit's cgroup would be, in each target slice.
    pub fn unit_paths(&self, unit: &str) -> Vec<PathBuf> {
        self.slices
            .iter()
            .map(|slice| slice.path.join(unit))
            .collect()
    }

    /// Starts a rule for a unit, attaching the fault's programs where they aren't yet.
    ///
    /// The unit need not be running: the rule holds for its cgroup from the moment there is one.
    pub fn arm(&mut self, unit: &str, rule: &Rule) -> Result<Armed, ArmError> {
        let kind = rule.kind();
        if let Some(reason) = self.refusal(kind) {
            return Err(ArmError::Unsupported {
                fault: kind,
                reason: reason.to_owned(),
            });
        }
        self.follow_slices()?;
        if self.slices.iter().all(|slice| slice.id.is_none()) {
            let names: Vec<_> = self
                .slices
                .iter()
                .map(|slice| slice.path.display().to_string())
                .collect();
            return Err(ArmError::NoSlice(names.join(", ")));
        }
        self.attach(kind)?;
        let index =
            self.units
                .enter(unit, &self.unit_paths(unit))
                .map_err(|error| match error {
                    UnitError::Map(error) => ArmError::Map(error),
                    other => ArmError::Unit(other.to_string()),
                })?;
        let armed = self.write(unit, index, rule);
        if armed.is_err() {
            self.units.leave(index);
        }
        armed
    }

    fn write(&mut self, unit: &str, index: u32, rule: &Rule) -> Result<Armed, ArmError> {
        let kind = rule.kind();
        let free = match kind {
            FaultKind::PacketLoss => self.packet_loss.rules.free_slot(index),
            FaultKind::ConnectError => self.connect_error.rules.free_slot(index),
        };
        let Some(slot) = free else {
            let limit = observastack_abi::rule::RULES_PER_UNIT;
            return Err(ArmError::TooManyRules {
                unit: unit.to_owned(),
                fault: kind,
                limit,
            });
        };
        match rule {
            Rule::PacketLoss(rule) => self.packet_loss.rules.arm(index, slot, rule)?,
            Rule::ConnectError(rule) => self.connect_error.rules.arm(index, slot, rule)?,
        }
        Ok(Armed {
            kind,
            unit: index,
            slot,
        })
    }

    /// Ends a rule at once and gives its last counts.
    pub fn disarm(&mut self, armed: Armed) -> Result<RuleCounts, MapError> {
        let counts = match armed.kind {
            FaultKind::PacketLoss => self.packet_loss.rules.disarm(armed.unit, armed.slot),
            FaultKind::ConnectError => self.connect_error.rules.disarm(armed.unit, armed.slot),
        }?;
        self.units.leave(armed.unit);
        Ok(counts)
    }

    /// A rule's counts now.
    pub fn counts(&self, armed: Armed) -> Result<RuleCounts, MapError> {
        match armed.kind {
            FaultKind::PacketLoss => self.packet_loss.rules.counts(armed.unit, armed.slot),
            FaultKind::ConnectError => self.connect_error.rules.counts(armed.unit, armed.slot),
        }
    }

    /// Lets faults act until `until_ns` of `CLOCK_MONOTONIC`; 0 stops them all at once.
    pub fn set_lease(&mut self, until_ns: u64) -> Result<(), MapError> {
        self.lease.set(0, until_ns, 0)
    }

    /// Detaches the programs of faults that have no rule. Gives the faults that it detached.
    pub fn detach_idle(&mut self) -> Vec<FaultKind> {
        let mut detached = Vec::new();
        if self.packet_loss.rules.is_empty() && !self.packet_loss.links.is_empty() {
            self.packet_loss.links.clear();
            detached.push(FaultKind::PacketLoss);
        }
        if self.connect_error.rules.is_empty() && !self.connect_error.links.is_empty() {
            self.connect_error.links.clear();
            detached.push(FaultKind::ConnectError);
        }
        detached
    }

    /// Notices slices that systemd has stopped, started or made anew, and attaches to the new ones what was attached
    /// to the old. True where something has changed.
    pub fn follow_slices(&mut self) -> Result<bool, MapError> {
        let mut changed = false;
        for slice in &mut self.slices {
            let now = slice.current_id();
            if now != slice.id {
                self.units.set_slice(slice.id, now)?;
                slice.id = now;
                changed = true;
            }
        }
        if changed {
            for (unit, name) in self.units.entered() {
                let paths = self.unit_paths(&name);
                if let Err(UnitError::Map(error)) = self.units.scan(unit, &paths) {
                    return Err(error);
                }
            }
            // A link dies with its cgroup. Attaching anew to a slice that stayed would run a program twice.
            for kind in [FaultKind::PacketLoss, FaultKind::ConnectError] {
                // Rules without links: the slice was seen missing in between.
                if self.is_attached(kind) || self.has_rules(kind) {
                    self.drop_links(kind);
                    if let Err(error) = self.attach(kind) {
                        log::warn!("cannot follow a slice that was made anew: {error}");
                    }
                }
            }
        }
        Ok(changed)
    }

    /// Decisions that verbose rules have logged since the last call, at most some thousands.
    pub fn poll_decisions(&mut self) -> Vec<Decision> {
        self.logger.flush();
        self.decisions.try_iter().collect()
    }

    /// Cgroups that the programs could not remember because their table was full: faults miss them.
    pub fn lost_cgroups(&self) -> u64 {
        self.units.lost()
    }

    fn is_attached(&self, kind: FaultKind) -> bool {
        match kind {
            FaultKind::PacketLoss => !self.packet_loss.links.is_empty(),
            FaultKind::ConnectError => !self.connect_error.links.is_empty(),
        }
    }

    fn has_rules(&self, kind: FaultKind) -> bool {
        match kind {
            FaultKind::PacketLoss => !self.packet_loss.rules.is_empty(),
            FaultKind::ConnectError => !self.connect_error.rules.is_empty(),
        }
    }

    fn drop_links(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::PacketLoss => self.packet_loss.links.clear(),
            FaultKind::ConnectError => self.connect_error.links.clear(),
        }
    }

    /// Attaches a fault's programs to every slice that there is, all or none.
    fn attach(&mut self, kind: FaultKind) -> Result<(), ArmError> {
        if self.is_attached(kind) {
            return Ok(());
        }
        for slice in self.slices.iter().filter(|slice| slice.id.is_some()) {
            let attached = slice
                .open()
                .map_err(|error| error.to_string())
                .and_then(|cgroup| {
                    match kind {
                        FaultKind::PacketLoss => self.packet_loss.attach(&mut self.ebpf, &cgroup),
                        FaultKind::ConnectError => {
                            self.connect_error.attach(&mut self.ebpf, &cgroup)
                        }
                    }
                    .map_err(|error| chain(&error))
                });
            if let Err(reason) = attached {
                let slice = slice.path.display().to_string();
                self.drop_links(kind);
                return Err(ArmError::Attach {
                    fault: kind,
                    slice,
                    reason,
                });
            }
        }
        Ok(())
    }
}

fn attach_tracepoint(ebpf: &mut Ebpf, name: &str) -> Result<(), ProgramError> {
    let program: &mut RawTracePoint = ebpf
        .program_mut(name)
        .ok_or(ProgramError::NotLoaded)?
        .try_into()?;
    program.load()?;
    program.attach(name)?;
    Ok(())
}

/// An error with its causes, the verifier's log cut to its last lines.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}
