//! What a probe costs, from the kernel's own run-time statistics, beyond an empty program at the same tracepoint that sees the same
//! events.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use clap::Args;
use observastack_loader::observer::{Observer, Probe, ProgramRuns};

use crate::{
    faults::{
        Here,
        ground::{Ground, OTHER, UNIT},
        run_time::Statistics,
        swapped::swapped,
    },
    stats::median,
    worker::Worker,
};

/// Pieces of work in each turn, and before it to warm up.
const TIMES: u32 = 5_000;
const WARM_UP: u32 = 300;

/// What a probe costs an event.
#[derive(Debug, Args)]
pub(crate) struct Probes {
    #[command(flatten)]
    here: Here,
}

/// A program, the probe that it belongs to, and the work that it sees.
struct Row {
    program: &'static str,
    probe: Probe,
    work: &'static str,
    /// Whose system calls are asked for.
    asked: Option<&'static str>,
    about: &'static str,
}

const fn row(
    program: &'static str,
    probe: Probe,
    work: &'static str,
    asked: Option<&'static str>,
    about: &'static str,
) -> Row {
    Row {
        program,
        probe,
        work,
        asked,
        about,
    }
}

const ROWS: [Row; 8] = [
    row(
        "sched_switch",
        Probe::RunQueue,
        "switches",
        None,
        "a switch",
    ),
    row(
        "sched_wakeup",
        Probe::RunQueue,
        "switches",
        None,
        "a wakeup",
    ),
    row(
        "tcp_probe",
        Probe::TcpRtt,
        "round-trips",
        None,
        "a segment that arrives",
    ),
    row(
        "page_fault_user",
        Probe::PageFault,
        "faults",
        None,
        "a page fault",
    ),
    row(
        "sys_enter",
        Probe::Syscalls,
        "calls",
        Some(OTHER),
        "a system call's beginning, another unit's are asked for",
    ),
    row("sys_exit", Probe::Syscalls, "calls", Some(OTHER), "its end"),
    row(
        "sys_enter",
        Probe::Syscalls,
        "calls",
        Some(UNIT),
        "a system call's beginning, this unit's are asked for",
    ),
    row("sys_exit", Probe::Syscalls, "calls", Some(UNIT), "its end"),
];

impl Probes {
    pub(crate) fn run(&self) -> Result<()> {
        self.here.begin()?;
        let _statistics = Statistics::on()?;
        let ground = Ground::make(&self.here.cgroup_root)?;
        let mut bench = Bench::prepare(&ground, &self.here.cgroup_root, &self.here.object)?;
        println!(
            "| program | what it sees | the empty program beside it, ns | beyond it, ns |\n|---|---|---|---|"
        );
        for row in &ROWS {
            let (empty, beyond) = bench
                .measure(row, self.here.turns)
                .with_context(|| format!("cannot measure {}", row.program))?;
            println!(
                "| `{}` | {} | {:.0} | {:+.0} |",
                row.program,
                row.about,
                median(&empty),
                median(&beyond)
            );
        }
        println!();
        Ok(())
    }
}

struct Bench {
    worker: Worker,
    ours: Observer,
    empty: Observer,
}

impl Bench {
    fn prepare(ground: &Ground, root: &Path, object: &Path) -> Result<Self> {
        let bytes =
            fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), swapped(&bytes)?)?;
        let slices = [ground.slice_name().to_owned()];
        Ok(Self {
            worker: Worker::start(&[], &ground.unit)?,
            ours: Observer::load(object, root, &slices)?,
            empty: Observer::load(file.path(), root, &slices)?,
        })
    }

    /// The empty program's mean time of an event, and ours beyond it, for each turn.
    fn measure(&mut self, row: &Row, turns: u32) -> Result<(Vec<f64>, Vec<f64>)> {
        self.ours.switch_on(row.probe)?;
        self.empty.switch_on(row.probe)?;
        if let Some(unit) = row.asked {
            self.ours.observe_syscalls(unit, true)?;
        }
        let (mut empty, mut beyond) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            self.worker.ask(&format!("{} {WARM_UP}", row.work))?;
            let before = self.runs(row.program)?;
            self.worker.ask(&format!("{} {TIMES}", row.work))?;
            let after = self.runs(row.program)?;
            let mean = |before: &ProgramRuns, after: &ProgramRuns| -> Result<f64> {
                let events = after.count - before.count;
                ensure!(events >= u64::from(TIMES), "{events} events of {TIMES}");
                Ok((after.time - before.time).as_nanos() as f64 / events as f64)
            };
            let empty_ns = mean(&before[1], &after[1])?;
            beyond.push(mean(&before[0], &after[0])? - empty_ns);
            empty.push(empty_ns);
        }
        if let Some(unit) = row.asked {
            self.ours.observe_syscalls(unit, false)?;
        }
        self.ours.switch_off(row.probe);
        self.empty.switch_off(row.probe);
        Ok((empty, beyond))
    }

    /// What the kernel says of ours and of the empty program.
    fn runs(&self, program: &str) -> Result<[ProgramRuns; 2]> {
        let of = |observer: &Observer| -> Result<ProgramRuns> {
            let programs = observer.snapshot()?.programs;
            let mut programs = programs.into_iter();
            programs
                .find(|runs| runs.name == program)
                .context("it is not loaded")
        };
        Ok([of(&self.ours)?, of(&self.empty)?])
    }
}
