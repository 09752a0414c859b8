//! Stacks: samples of those on a CPU, by the one program that is no tracepoint's, and of tasks that slept.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError, StackTraceMap},
    programs::{
        PerfEvent, ProgramError,
        perf_event::{PerfEventConfig, PerfEventLink, PerfEventScope, SamplePolicy, SoftwareEvent},
    },
    util::online_cpus,
};
use observastack_abi::telemetry::profile::{LOST_STACK, PidNamespace, Sample, Slept};

use crate::LoadError;

/// The program.
const PROGRAM: &str = "cpu_sample";

/// What stacks are taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Tasks on a CPU, so often a second.
    Cpu {
        /// How often, on each CPU.
        frequency_hz: u64,
    },
    /// Tasks that sleep, from when they leave their CPU until they are woken.
    OffCpu,
}

/// One stack, and how often it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The process, as this process's pid namespace has it; 0 where it is not in it.
    pub process: u32,
    /// Addresses in the kernel, the innermost first.
    pub kernel: Vec<u64>,
    /// Addresses in the program.
    pub user: Vec<u64>,
    /// How often.
    pub count: u64,
    /// How long it was there, all together: slept, or as the number of samples has it.
    pub time_ns: u64,
    /// Whether a part of it found no room.
    pub is_lost: bool,
}

/// The program's links and maps.
pub(super) struct Profiler {
    links: Vec<PerfEventLink>,
    samples: HashMap<MapData, Sample, u64>,
    sleeps: HashMap<MapData, Sample, Slept>,
    stacks: StackTraceMap<MapData>,
    refusal: Option<String>,
}

impl Profiler {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        let samples = super::take(ebpf, "SAMPLES")?;
        let sleeps = super::take(ebpf, "SLEEPS")?;
        let stacks = super::take(ebpf, "STACKS")?;
        let loaded = program(ebpf).and_then(PerfEvent::load);
        Ok(Self {
            links: Vec::new(),
            samples,
            sleeps,
            stacks,
            refusal: loaded.err().map(|error| crate::chain(&error)),
        })
    }

    /// Why this kernel cannot do it.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Starts the timer of every CPU that is online, so often a second.
    pub(super) fn start(&mut self, ebpf: &mut Ebpf, frequency_hz: u64) -> Result<(), ProgramError> {
        let program = program(ebpf)?;
        let mut links = Vec::new();
        let cpus = online_cpus().map_err(|(_, error)| ProgramError::IOError(error))?;
        for cpu in cpus {
            let link = program.attach(
                PerfEventConfig::Software(SoftwareEvent::CpuClock),
                PerfEventScope::AllProcessesOneCpu { cpu },
                SamplePolicy::Frequency(frequency_hz),
                false,
            )?;
            links.push(program.take_link(link)?);
        }
        self.links = links;
        Ok(())
    }

    /// Stops them.
    pub(super) fn stop(&mut self) {
        self.links.clear();
    }

    /// Forgets everything that was found: only while nothing more comes.
    pub(super) fn forget(&mut self) -> Result<(), MapError> {
        drain(&mut self.samples)?;
        drain(&mut self.sleeps)?;
        self.forget_stacks();
        Ok(())
    }

    /// Takes everything that was found of a unit, and forgets the rest: only while nothing more comes.
    pub(super) fn take_stacks(
        &mut self,
        unit: u32,
        sampling: Sampling,
    ) -> Result<Vec<Stack>, MapError> {
        let found = match sampling {
            Sampling::Cpu { frequency_hz } => {
                let time_ns =
                    |count: u64| count.saturating_mul(1_000_000_000) / frequency_hz.max(1);
                let counts = drain(&mut self.samples)?;
                let slept = |count| Slept {
                    count,
                    time_ns: time_ns(count),
                };
                counts
                    .into_iter()
                    .map(|(sample, count)| (sample, slept(count)))
                    .collect()
            }
            Sampling::OffCpu => drain(&mut self.sleeps)?,
        };
        let stacks = found
            .iter()
            .filter(|(sample, _)| sample.unit == unit)
            .map(|(sample, slept)| Stack {
                process: sample.process,
                kernel: self.addresses(sample.kernel_stack),
                user: self.addresses(sample.user_stack),
                count: slept.count,
                time_ns: slept.time_ns,
                is_lost: [sample.kernel_stack, sample.user_stack].contains(&LOST_STACK),
            })
            .collect();
        self.forget()?;
        Ok(stacks)
    }

    /// The addresses of a stack, innermost first; none for one that was not kept.
    fn addresses(&self, id: i32) -> Vec<u64> {
        let id = u32::try_from(id).ok();
        let stack = id.and_then(|id| self.stacks.get(&id, 0).ok());
        let frames = stack.as_ref().map_or(&[][..], |stack| stack.frames());
        frames.iter().map(|frame| frame.ip).collect()
    }

    fn forget_stacks(&mut self) {
        let ids: Vec<u32> = self.stacks.stack_ids().filter_map(Result::ok).collect();
        for id in ids {
            let _ = self.stacks.remove(&id);
        }
    }
}

/// Everything in a table, which is empty then.
fn drain<V: aya::Pod>(
    table: &mut HashMap<MapData, Sample, V>,
) -> Result<BTreeMap<Sample, V>, MapError> {
    let found: BTreeMap<Sample, V> = table.iter().filter_map(Result::ok).collect();
    for sample in found.keys() {
        table.remove(sample)?;
    }
    Ok(found)
}

fn program(ebpf: &mut Ebpf) -> Result<&mut PerfEvent, ProgramError> {
    ebpf.program_mut(PROGRAM)
        .ok_or(ProgramError::NotLoaded)?
        .try_into()
}

/// A map of stacks that are deeper than the kernel's limit (`kernel.perf_event_max_stack`) cannot be made, and nothing of the object loaded.
pub(super) fn check_depth() -> Result<(), LoadError> {
    /// `PERF_MAX_STACK_DEPTH`, as aya makes the map.
    const NEEDED: u32 = 127;
    let text = fs::read_to_string("/proc/sys/kernel/perf_event_max_stack").unwrap_or_default();
    match text.trim().parse() {
        Ok(found) if found < NEEDED => Err(LoadError::StackDepth {
            found,
            needed: NEEDED,
        }),
        // The kernel's own is 127; where it cannot be read, the kernel says what is wrong.
        _ => Ok(()),
    }
}

/// This process's own pid namespace; unknown where /proc is not there, and processes have no number then.
pub(super) fn own_namespace() -> PidNamespace {
    fs::metadata("/proc/self/ns/pid").map_or_else(
        |_| PidNamespace::default(),
        |found| PidNamespace {
            device: found.dev(),
            inode: found.ino(),
        },
    )
}
