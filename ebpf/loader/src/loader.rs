//! The loaded programs and everything that is done with them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc,
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{Array, MapData, MapError},
    programs::{ProgramError, RawTracePoint},
};
use aya_log::EbpfLogger;
use observastack_abi::{
    counts::RuleCounts,
    rule::{ALL_UNITS, ActiveSlots},
};

use crate::{
    attachments::{Attachments, Machine, interfaces},
    cgroup::Slice,
    chain,
    decisions::{Decision, DecisionSink},
    faults::{FaultKind, Rule},
    hook::{self, Place, Program},
    memory,
    offsets::{self, OffsetError, Offsets},
    rule_map::{self, RuleTable},
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
    /// The kernel keeps stacks that are less deep than the programs' map is made for.
    #[error(
        "kernel.perf_event_max_stack is {found}, and stacks of {needed} are kept: sysctl kernel.perf_event_max_stack={needed}"
    )]
    StackDepth {
        /// The kernel's.
        found: u32,
        /// The map's.
        needed: u32,
    },
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
    #[error("{fault}: {reason}", fault = .fault.name())]
    Attach {
        /// The fault.
        fault: FaultKind,
        /// What the kernel said.
        reason: String,
    },
    /// The machine's interfaces could not be listed.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(#[source] io::Error),
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

/// The loaded programs, their maps, and what they are attached to. Dropping it detaches everything.
///
/// Needs a kernel from 6.1 with BTF, `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`.
pub struct Loader {
    // Links go before the programs that they belong to.
    attachments: Attachments,
    tables: BTreeMap<FaultKind, Box<dyn RuleTable + Send>>,
    /// What each armed rule has attached.
    used: BTreeMap<(FaultKind, u32, u32), Vec<&'static Program>>,
    active: Array<MapData, ActiveSlots>,
    units: UnitTable,
    lease: Array<MapData, u64>,
    logger: EbpfLogger<DecisionSink>,
    decisions: mpsc::Receiver<Decision>,
    cgroup_root: PathBuf,
    slices: Vec<Slice>,
    interfaces: Vec<(String, u32)>,
    /// Programs that the kernel was asked to take: why it refused, or nothing.
    asked: BTreeMap<&'static str, Option<String>>,
    /// Why security programs cannot be asked about.
    without_files: Option<String>,
    ebpf: Ebpf,
}

impl Loader {
    /// Loads the object, has the kernel verify every program, and starts to follow the units of `slices`.
    ///
    /// A fault whose programs this kernel refuses is not an error: [`Self::refusal`] tells why, and arming it fails.
    pub fn load(object: &Path, cgroup_root: &Path, slices: &[String]) -> Result<Self, LoadError> {
        let mut loader = Self::load_lazily(object, cgroup_root, slices)?;
        loader.verify_all();
        Ok(loader)
    }

    /// Has the kernel verify every program that it was not asked about yet.
    pub fn verify_all(&mut self) {
        let all: Vec<_> = hook::all().collect();
        self.ask(&all);
        memory::give_back();
    }

    /// The same, but each program is verified when a rule first needs it, which then takes its time (70 ms for a security
    /// program of an emulated machine).
    pub fn load_lazily(
        object: &Path,
        cgroup_root: &Path,
        slices: &[String],
    ) -> Result<Self, LoadError> {
        let bytes = fs::read(object).map_err(|source| LoadError::Object {
            path: object.to_owned(),
            source,
        })?;
        let Offsets { cgroup, file } = offsets::of_this_kernel()?;
        let files = file.as_ref().copied().unwrap_or_default();
        let mut ebpf = EbpfLoader::new()
            .override_global("CGROUP_OFFSETS", cgroup, true)
            .override_global("FILE_OFFSETS", &files, true)
            .load(&bytes)
            .map_err(|error| LoadError::Ebpf(Box::new(error)))?;
        let without_files = file.as_ref().err().map(ToString::to_string);

        let (sender, decisions) = mpsc::sync_channel(DECISIONS);
        let logger = EbpfLogger::init_with_logger(&mut ebpf, DecisionSink(sender))
            .map_err(|_| LoadError::Incomplete("AYA_LOGS"))?;
        let units = UnitTable::take(&mut ebpf).ok_or(LoadError::Incomplete("unit table"))?;
        let lease = ebpf
            .take_map("LEASE")
            .and_then(|map| Array::try_from(map).ok())
            .ok_or(LoadError::Incomplete("LEASE"))?;
        let active = ebpf
            .take_map("ACTIVE_SLOTS")
            .and_then(|map| Array::try_from(map).ok())
            .ok_or(LoadError::Incomplete("ACTIVE_SLOTS"))?;
        let mut tables = BTreeMap::new();
        for kind in FaultKind::ALL {
            let table =
                rule_map::take(&mut ebpf, kind).ok_or(LoadError::Incomplete(kind.name()))?;
            tables.insert(kind, table);
        }
        attach_unit_tracepoints(&mut ebpf)?;

        let slices = slices
            .iter()
            .map(|name| Slice::new(cgroup_root, name))
            .collect();
        let mut loader = Self {
            attachments: Attachments::default(),
            tables,
            used: BTreeMap::new(),
            active,
            units,
            lease,
            logger,
            decisions,
            cgroup_root: cgroup_root.to_owned(),
            slices,
            interfaces: Vec::new(),
            asked: BTreeMap::new(),
            without_files,
            ebpf,
        };
        loader.follow()?;
        Ok(loader)
    }

    /// Has the kernel verify programs that it was not asked about yet.
    fn ask(&mut self, programs: &[&'static Program]) {
        let mut btf = None;
        for program in programs {
            if self.asked.contains_key(program.name) {
                continue;
            }
            let is_security = program.place == Place::Security;
            let loaded = match &self.without_files {
                Some(missing) if is_security => Err(missing.clone()),
                _ => {
                    if is_security && btf.is_none() {
                        btf = Btf::from_sys_fs().ok();
                    }
                    program
                        .load(&mut self.ebpf, btf.as_ref())
                        .map_err(|error| chain(&error))
                }
            };
            self.asked.insert(program.name, loaded.err());
        }
    }

    /// Why this kernel can't do a fault, or a part of it; `None` where it took all of its programs that it was asked about.
    pub fn refusal(&self, kind: FaultKind) -> Option<&str> {
        self.refusal_of(kind.programs())
    }

    /// Why this kernel can't do what one rule needs.
    fn refusal_of(&self, programs: &[&Program]) -> Option<&str> {
        programs
            .iter()
            .find_map(|program| self.asked.get(program.name)?.as_deref())
    }

    /// Where a unit's cgroup would be, in each target slice.
    pub fn unit_paths(&self, unit: &str) -> Vec<PathBuf> {
        self.slices
            .iter()
            .map(|slice| slice.path.join(unit))
            .collect()
    }

    /// Starts a rule for a unit, attaching the programs that it needs where they aren't yet.
    ///
    /// The unit need not be running: the rule holds for its cgroup from the moment there is one.
    pub fn arm(&mut self, unit: &str, rule: &Rule) -> Result<Armed, ArmError> {
        let kind = rule.kind();
        let programs = rule.programs();
        self.ask(&programs);
        if let Some(reason) = self.refusal_of(&programs) {
            return Err(ArmError::Unsupported {
                fault: kind,
                reason: reason.to_owned(),
            });
        }
        self.follow()?;
        if self.slices.iter().all(|slice| slice.id.is_none()) {
            let names: Vec<_> = self
                .slices
                .iter()
                .map(|slice| slice.path.display().to_string())
                .collect();
            return Err(ArmError::NoSlice(names.join(", ")));
        }
        if self.interfaces.is_empty() {
            self.interfaces = interfaces().map_err(ArmError::Interfaces)?;
        }
        let machine = Machine {
            slices: &self.slices,
            root: &self.cgroup_root,
            interfaces: &self.interfaces,
        };
        self.attachments
            .want(&mut self.ebpf, &programs, &machine)
            .map_err(|error| ArmError::Attach {
                fault: kind,
                reason: error.to_string(),
            })?;
        let armed = self.enter(unit, rule);
        match &armed {
            Ok(armed) => {
                self.used.insert((kind, armed.unit, armed.slot), programs);
            }
            Err(_) => self.attachments.release(&programs),
        }
        armed
    }

    fn enter(&mut self, unit: &str, rule: &Rule) -> Result<Armed, ArmError> {
        let paths = self.unit_paths(unit);
        let index = self
            .units
            .enter(unit, &paths)
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
        let Some(slot) = self.table(kind).and_then(|table| table.free_slot(index)) else {
            return Err(ArmError::TooManyRules {
                unit: unit.to_owned(),
                fault: kind,
                limit: observastack_abi::rule::RULES_PER_UNIT,
            });
        };
        if let Some(table) = self.tables.get_mut(&kind) {
            table.arm(index, slot, rule)?;
        }
        if let Err(error) = self.show_active(index) {
            if let Some(table) = self.tables.get_mut(&kind) {
                let _ = table.disarm(index, slot);
            }
            return Err(error.into());
        }
        Ok(Armed {
            kind,
            unit: index,
            slot,
        })
    }

    /// Tells the programs which slots of a unit have rules, and whether any unit has.
    fn show_active(&mut self, unit: u32) -> Result<(), MapError> {
        let mut active = ActiveSlots::default();
        let mut all = ActiveSlots::default();
        for (kind, table) in &self.tables {
            let taken = table.taken(unit);
            active.of[kind.index()] = taken;
            active.faults |= u32::from(taken != 0) << kind.index();
            active.headers |= u32::from(table.needs_headers(unit)) << kind.index();
            all.faults |= u32::from(table.is_used()) << kind.index();
        }
        self.active.set(unit, active, 0)?;
        self.active.set(ALL_UNITS, all, 0)
    }

    /// Ends a rule at once and gives its last counts.
    pub fn disarm(&mut self, armed: Armed) -> Result<RuleCounts, MapError> {
        let counts = match self.tables.get_mut(&armed.kind) {
            Some(table) => table.disarm(armed.unit, armed.slot)?,
            None => RuleCounts::default(),
        };
        self.show_active(armed.unit)?;
        self.units.leave(armed.unit);
        if let Some(programs) = self.used.remove(&(armed.kind, armed.unit, armed.slot)) {
            self.attachments.release(&programs);
        }
        Ok(counts)
    }

    /// A rule's counts now.
    pub fn counts(&self, armed: Armed) -> Result<RuleCounts, MapError> {
        self.table(armed.kind)
            .map_or(Ok(RuleCounts::default()), |table| {
                table.counts(armed.unit, armed.slot)
            })
    }

    /// Lets faults act until `until_ns` of `CLOCK_MONOTONIC`; 0 stops them all at once.
    pub fn set_lease(&mut self, until_ns: u64) -> Result<(), MapError> {
        self.lease.set(0, until_ns, 0)
    }

    /// Detaches the programs that no rule needs; their names.
    pub fn detach_idle(&mut self) -> Vec<&'static str> {
        self.attachments.detach_idle()
    }

    /// Notices slices and interfaces that were stopped, started or made anew, and attaches to the new ones what was attached
    /// to the old. True where something has changed.
    pub fn follow(&mut self) -> Result<bool, MapError> {
        let mut slices_changed = false;
        for slice in &mut self.slices {
            let now = slice.current_id();
            if now != slice.id {
                self.units.set_slice(slice.id, now)?;
                slice.id = now;
                slices_changed = true;
            }
        }
        if slices_changed {
            for (unit, name) in self.units.entered() {
                let paths = self.unit_paths(&name);
                if let Err(UnitError::Map(error)) = self.units.scan(unit, &paths) {
                    return Err(error);
                }
            }
        }
        let mut interfaces_changed = false;
        if self.attachments.wants(Place::InterfaceEgress) {
            match interfaces() {
                Ok(now) => {
                    interfaces_changed = now != self.interfaces;
                    self.interfaces = now;
                }
                Err(error) => log::warn!("cannot list the network interfaces: {error}"),
            }
        } else {
            // Listed again when a rule needs them.
            self.interfaces.clear();
        }
        if slices_changed || interfaces_changed {
            let machine = Machine {
                slices: &self.slices,
                root: &self.cgroup_root,
                interfaces: &self.interfaces,
            };
            if let Err(error) = self.attachments.follow(&mut self.ebpf, &machine) {
                log::warn!("cannot follow what was made anew: {error}");
            }
        }
        Ok(slices_changed || interfaces_changed)
    }

    /// Decisions that verbose rules have logged since the last call, at most some thousands.
    pub fn poll_decisions(&mut self) -> Vec<Decision> {
        self.logger.flush();
        self.decisions.try_iter().collect()
    }

    /// How many instructions the kernel walked through to verify each program that it took.
    pub fn verified_instructions(&self) -> Vec<(&'static str, u32)> {
        let count = |program: &'static Program| {
            let info = self.ebpf.program(program.name)?.info().ok()?;
            Some((program.name, info.verified_instruction_count()?))
        };
        hook::all().filter_map(count).collect()
    }

    /// Cgroups that the programs could not remember because their table was full: faults miss them.
    pub fn lost_cgroups(&self) -> u64 {
        self.units.lost()
    }

    fn table(&self, kind: FaultKind) -> Option<&(dyn RuleTable + Send)> {
        self.tables.get(&kind).map(Box::as_ref)
    }
}

/// Attaches the programs that keep a unit table current; they stay attached for as long as the object is loaded.
pub(crate) fn attach_unit_tracepoints(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    for program in UNIT_TRACEPOINTS {
        attach_tracepoint(ebpf, program).map_err(|source| LoadError::Units {
            program,
            source: Box::new(source),
        })?;
    }
    Ok(())
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
