//! The loaded probes of kernel telemetry and what they have counted.
//!
//! - [`Probe`]: what can be switched on and off; [`Observer`]: the loaded programs, owned by one thread;
//! - [`Snapshot`]: everything that was counted so far, summed up over the CPUs;
//! - [`event`]: rare things, [`trace`]: everything of a unit, decoded from their ring buffers.

mod clear;
pub mod event;
mod offsets;
mod probe;
mod profiler;
mod snapshot;
pub mod trace;
mod units;

use std::{collections::BTreeMap, fs, path::Path};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, RingBuf},
    programs::{ProgramError, RawTracePoint, raw_trace_point::RawTracePointLink},
};
pub use probe::Probe;
pub use profiler::{Sampling, Stack};
pub use snapshot::{ProgramRuns, Snapshot};

use observastack_abi::telemetry::{
    OTHER,
    wanted::{COUNT_SYSCALLS, FIRST_SLEEP_STACKS, OFF_CPU, PROFILE, SLEEP_STACKS},
};

use self::{event::Event, profiler::Profiler, trace::Traced, units::ObservedUnits};
use crate::{LoadError, chain, loader::attach_unit_tracepoints, memory, offsets as kernel};

/// How one probe stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeState {
    /// The probe.
    pub probe: Probe,
    /// Whether its programs are attached.
    pub is_on: bool,
    /// Why this kernel cannot do it.
    pub refusal: Option<String>,
}

/// Why a probe could not be switched on, or be given what it needs.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// This kernel can't do it.
    #[error("this kernel cannot do `{what}`: {reason}")]
    Refused {
        /// The probe's name, or what else it is.
        what: &'static str,
        /// What the kernel or its BTF said.
        reason: String,
    },
    /// There is no such unit.
    #[error(
        "no unit `{0}` is known; observed are the units of the observed slices, once they have run"
    )]
    NoUnit(String),
    /// A map could not be written.
    #[error("cannot write the kernel's tables: {0}")]
    Map(#[from] MapError),
}

/// The probes' programs and maps. Dropping it detaches everything.
///
/// Needs a kernel from 6.1 with BTF, `CAP_BPF` and `CAP_PERFMON`.
pub struct Observer {
    // Links go before the programs that they belong to.
    links: BTreeMap<Probe, Vec<RawTracePointLink>>,
    refusals: BTreeMap<Probe, String>,
    units: ObservedUnits,
    drop_reasons: BTreeMap<u32, String>,
    events: RingBuf<MapData>,
    listeners: HashMap<MapData, u32, u32>,
    wanted: Array<MapData, u32>,
    traced: RingBuf<MapData>,
    profiler: Profiler,
    /// The profile that goes on.
    profiling: Option<(u32, Sampling)>,
    /// Profiles of sleeps so far.
    profiles: u32,
    ebpf: Ebpf,
}

impl Observer {
    /// Loads the object, has the kernel verify every program, and starts to follow the units of `slices`. No probe is on yet.
    ///
    /// # Errors
    /// The object, the BTF, or the programs that find units do not load. A probe that does not is no error: see [`Self::states`].
    pub fn load(object: &Path, cgroup_root: &Path, slices: &[String]) -> Result<Self, LoadError> {
        let bytes = fs::read(object).map_err(|source| LoadError::Object {
            path: object.to_owned(),
            source,
        })?;
        profiler::check_depth()?;
        let cgroup = &kernel::of_this_kernel()?.cgroup;
        let found = offsets::read(&kernel::open_kernel()?);
        let namespace = profiler::own_namespace();
        let mut ebpf = EbpfLoader::new()
            .override_global("CGROUP_OFFSETS", cgroup, true)
            .override_global("PROBE_OFFSETS", &found.offsets, true)
            .override_global("ADOPT_UNITS", &1u32, true)
            .override_global("PID_NAMESPACE", &namespace, true)
            .load(&bytes)
            .map_err(|error| LoadError::Ebpf(Box::new(error)))?;
        let mut refusals = found.missing;
        for probe in Probe::ALL {
            for (program, _) in probe.programs() {
                if let Err(error) = load_program(&mut ebpf, program) {
                    refusals.entry(probe).or_insert_with(|| chain(&error));
                }
            }
        }
        let events = take(&mut ebpf, "EVENTS")?;
        let listeners = take(&mut ebpf, "LISTENERS")?;
        let wanted = take(&mut ebpf, "WANTED")?;
        let traced = take(&mut ebpf, "TRACED")?;
        let profiler = Profiler::take(&mut ebpf)?;
        let mut units = ObservedUnits::take(&mut ebpf, cgroup_root, slices)
            .ok_or(LoadError::Incomplete("unit table"))?;
        attach_unit_tracepoints(&mut ebpf)?;
        units.follow()?;
        memory::give_back();
        Ok(Self {
            links: BTreeMap::new(),
            refusals,
            units,
            drop_reasons: found.drop_reasons,
            events,
            listeners,
            wanted,
            traced,
            profiler,
            profiling: None,
            profiles: 0,
            ebpf,
        })
    }

    /// How every probe stands.
    pub fn states(&self) -> Vec<ProbeState> {
        let state = |probe| ProbeState {
            probe,
            is_on: self.links.contains_key(&probe),
            refusal: self.refusals.get(&probe).cloned(),
        };
        Probe::ALL.into_iter().map(state).collect()
    }

    /// Switches a probe on: all of its programs, or none.
    ///
    /// # Errors
    /// This kernel cannot do it.
    pub fn switch_on(&mut self, probe: Probe) -> Result<(), SwitchError> {
        if self.links.contains_key(&probe) {
            return Ok(());
        }
        let refused = |reason: &str| SwitchError::Refused {
            what: probe.name(),
            reason: reason.to_owned(),
        };
        if let Some(reason) = self.refusals.get(&probe) {
            return Err(refused(reason));
        }
        let mut links = Vec::new();
        for (program, tracepoint) in probe.programs() {
            match attach_program(&mut self.ebpf, program, tracepoint) {
                Ok(link) => links.push(link),
                Err(error) => {
                    let reason = format!(
                        "cannot attach `{program}` to `{tracepoint}`: {}",
                        chain(&error)
                    );
                    self.refusals.insert(probe, reason.clone());
                    return Err(refused(&reason));
                }
            }
        }
        self.links.insert(probe, links);
        Ok(())
    }

    /// Switches a probe off. What it has counted stays.
    pub fn switch_off(&mut self, probe: Probe) {
        self.links.remove(&probe);
    }

    /// Counts the system calls of a unit, or no longer. The probe itself is switched apart from it.
    ///
    /// # Errors
    /// There is no such unit.
    pub fn observe_syscalls(&mut self, unit: &str, on: bool) -> Result<(), SwitchError> {
        self.want(self.index_of(unit)?, COUNT_SYSCALLS, on)
    }

    /// Counts how long a unit's tasks sleep, by system call, or no longer. Needs the probes [`Probe::RunQueue`] and
    /// [`Probe::Syscalls`].
    ///
    /// # Errors
    /// There is no such unit.
    pub fn observe_off_cpu(&mut self, unit: &str, on: bool) -> Result<(), SwitchError> {
        self.want(self.index_of(unit)?, OFF_CPU, on)?;
        self.tell_any_sleep()
    }

    /// Tells the programs whether any unit's sleeps are wanted.
    fn tell_any_sleep(&mut self) -> Result<(), SwitchError> {
        let mut any = false;
        for index in self.units.known().keys() {
            any |= self.wanted.get(index, 0)? & (OFF_CPU | SLEEP_STACKS) != 0;
        }
        Ok(self.wanted.set(OTHER, if any { OFF_CPU } else { 0 }, 0)?)
    }

    /// Takes the stacks of a unit's tasks, until [`Self::end_profile`]. One profile at a time: one that went on ends, and nothing comes of it.
    /// Sleeps need the probe [`Probe::RunQueue`].
    ///
    /// # Errors
    /// There is no such unit, or the kernel refuses it.
    pub fn profile(&mut self, unit: &str, sampling: Sampling) -> Result<(), SwitchError> {
        let refused = |reason: String| SwitchError::Refused {
            what: "profiles",
            reason,
        };
        if let (Sampling::Cpu { .. }, Some(reason)) = (sampling, self.profiler.refusal()) {
            return Err(refused(reason.to_owned()));
        }
        self.stop_profile()?;
        self.profiler.forget()?;
        let index = self.index_of(unit)?;
        // Remembered first: whatever of it was begun is ended.
        self.profiling = Some((index, sampling));
        let started = match sampling {
            Sampling::Cpu { frequency_hz } => {
                self.want(index, PROFILE, true)?;
                let started = self.profiler.start(&mut self.ebpf, frequency_hz);
                started.map_err(|error| refused(chain(&error)))
            }
            Sampling::OffCpu => {
                self.profiles = (self.profiles % 0xffff) + 1;
                self.want(index, self.profiles * FIRST_SLEEP_STACKS, true)?;
                self.tell_any_sleep()
            }
        };
        if started.is_err() {
            self.stop_profile()?;
        }
        started
    }

    /// Ends the profile that goes on, and gives what was found; nothing where there is none. Sleeps that go on are not in it.
    ///
    /// # Errors
    /// The kernel's tables cannot be read or written.
    pub fn end_profile(&mut self) -> Result<Vec<Stack>, SwitchError> {
        match self.stop_profile()? {
            Some((index, sampling)) => Ok(self.profiler.take_stacks(index, sampling)?),
            None => Ok(Vec::new()),
        }
    }

    fn stop_profile(&mut self) -> Result<Option<(u32, Sampling)>, SwitchError> {
        self.profiler.stop();
        let Some((index, sampling)) = self.profiling else {
            return Ok(None);
        };
        self.want(index, PROFILE | SLEEP_STACKS, false)?;
        self.tell_any_sleep()?;
        self.profiling = None;
        Ok(Some((index, sampling)))
    }

    /// Why this kernel takes no samples of stacks.
    pub fn profile_refusal(&self) -> Option<&str> {
        self.profiler.refusal()
    }

    /// Tells events of a unit one by one, or no longer: bits of [`observastack_abi::telemetry::trace::flag`]. Needs the probes
    /// [`Probe::Syscalls`], [`Probe::TraceTcp`] and [`Probe::RunQueue`], each for its own.
    ///
    /// # Errors
    /// There is no such unit.
    pub fn trace(&mut self, unit: &str, flags: u32, on: bool) -> Result<(), SwitchError> {
        self.want(self.index_of(unit)?, flags, on)
    }

    fn index_of(&self, unit: &str) -> Result<u32, SwitchError> {
        let index = self.units.index_of(unit);
        index.ok_or_else(|| SwitchError::NoUnit(unit.to_owned()))
    }

    fn want(&mut self, index: u32, flags: u32, on: bool) -> Result<(), SwitchError> {
        let before = self.wanted.get(&index, 0)?;
        let now = if on { before | flags } else { before & !flags };
        Ok(self.wanted.set(index, now, 0)?)
    }

    /// Events of traced units since the last call, at most so many; more stay for the next one.
    pub fn traced(&mut self, most: usize) -> Vec<Traced> {
        drain(&mut self.traced, most, trace::decode)
    }

    /// Tells the programs which units listen on which TCP ports.
    ///
    /// # Errors
    /// The kernel's table cannot be read or written.
    pub fn set_listeners(&mut self, listeners: &BTreeMap<u16, u64>) -> Result<(), MapError> {
        let now: BTreeMap<u32, u32> = listeners
            .iter()
            .filter_map(|(port, cgroup)| {
                Some((u32::from(*port), self.units.index_of_cgroup(*cgroup)?))
            })
            .collect();
        let before: BTreeMap<u32, u32> = self.listeners.iter().filter_map(Result::ok).collect();
        for port in before.keys().filter(|port| !now.contains_key(port)) {
            self.listeners.remove(port)?;
        }
        for (port, unit) in &now {
            if before.get(port) != Some(unit) {
                self.listeners.insert(port, unit, 0)?;
            }
        }
        Ok(())
    }

    /// The name of the unit that a cgroup belongs to.
    pub fn unit_of_cgroup(&self, cgroup: u64) -> Option<&str> {
        self.units.name_of(self.units.index_of_cgroup(cgroup)?)
    }

    /// Notices units and slices that were made since the last call. Where many units came and went, what was counted of those that
    /// are gone for longest is forgotten, so that there is room for others.
    ///
    /// # Errors
    /// The kernel's tables cannot be read or written.
    pub fn follow(&mut self) -> Result<(), MapError> {
        self.units.follow()?;
        for index in self.units.superfluous() {
            if self.units.forget(index) {
                clear::unit(&mut self.ebpf, index)?;
                self.wanted.set(index, 0, 0)?;
                self.units.give_back(index)?;
            }
        }
        Ok(())
    }

    /// Events since the last call, at most so many; more stay for the next one.
    pub fn events(&mut self, most: usize) -> Vec<Event> {
        drain(&mut self.events, most, event::decode)
    }

    /// The name of a unit's index; `None` for what is no unit.
    pub fn unit_name(&self, index: u32) -> Option<&str> {
        self.units.name_of(index)
    }

    /// Everything that was counted so far.
    ///
    /// # Errors
    /// The kernel's maps cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, MapError> {
        snapshot::take(&self.ebpf, &self.units, &self.drop_reasons)
    }
}

/// A map of the object, by its name.
fn take<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError> {
    ebpf.take_map(name)
        .and_then(|map| T::try_from(map).ok())
        .ok_or(LoadError::Incomplete(name))
}

/// What a ring buffer has got since the last call, at most so many; more stay for the next one.
fn drain<T>(ring: &mut RingBuf<MapData>, most: usize, decode: fn(&[u8]) -> Option<T>) -> Vec<T> {
    let mut events = Vec::new();
    while events.len() < most
        && let Some(bytes) = ring.next()
    {
        events.extend(decode(&bytes));
    }
    events
}

fn raw_tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    program: &str,
) -> Result<&'a mut RawTracePoint, ProgramError> {
    ebpf.program_mut(program)
        .ok_or(ProgramError::NotLoaded)?
        .try_into()
}

fn load_program(ebpf: &mut Ebpf, program: &str) -> Result<(), ProgramError> {
    raw_tracepoint(ebpf, program)?.load()
}

fn attach_program(
    ebpf: &mut Ebpf,
    program: &str,
    tracepoint: &str,
) -> Result<RawTracePointLink, ProgramError> {
    let program = raw_tracepoint(ebpf, program)?;
    let link = program.attach(tracepoint)?;
    program.take_link(link)
}
