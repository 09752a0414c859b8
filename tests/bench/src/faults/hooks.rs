//! What a hook costs, from the kernel's own run-time statistics, beyond an empty program of the same type at the same place
//! that sees the same events.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use observastack_loader::{
    Loader, Rule,
    abi::packet::{DIRECTION_IN, DIRECTION_OUT, UDP},
};

use super::{
    ground::{Ground, OTHER, UNIT},
    rules::Plan,
    run_time::{self, RunTimes, Statistics},
    swapped::swapped,
};
use crate::{
    stats::median,
    worker::{GETPPID, Worker},
};

/// Pieces of work in each turn, and before it to warm up.
const TIMES: u32 = 5_000;
const WARM_UP: u32 = 300;

/// A port that nothing here uses.
const UNUSED_PORT: u16 = 9;

/// A program, the rule that attaches it, and the work that it sees.
struct Hook {
    program: &'static str,
    work: &'static str,
    rule: fn(Plan) -> Rule,
    /// The rule that has a filter which no event passes, and one which every event passes; `signal` always has one.
    filtered: [fn(Plan) -> Rule; 2],
}

/// Where a rule is while a hook is measured, as the columns show it.
const STATES: [&str; 5] = [
    "no rule",
    "another unit's rule",
    "this unit's rule, no filter",
    "for another port (call)",
    "for this protocol (call)",
];

macro_rules! hook {
    ($program:literal, $work:literal, $plan:ident => $rule:expr) => {
        Hook {
            program: $program,
            work: $work,
            rule: |$plan| $rule,
            filtered: [
                |plan| {
                    let $plan = plan.port(UNUSED_PORT);
                    $rule
                },
                |plan| {
                    let $plan = plan.protocol(UDP);
                    $rule
                },
            ],
        }
    };
}

const HOOKS: [Hook; 7] = [
    hook!("packet_in", "exchange", plan => plan.loss()),
    hook!("packet_out", "exchange", plan => plan.direction(DIRECTION_OUT).loss()),
    hook!("packet_time_out", "exchange", plan => plan.direction(DIRECTION_OUT).latency()),
    hook!("packet_time_in", "exchange", plan => plan.direction(DIRECTION_IN).latency()),
    hook!("connect4", "udp-connects", plan => plan.connect_error()),
    hook!("bind4", "udp-binds", plan => plan.bind_error()),
    Hook {
        program: "sys_enter",
        work: "calls",
        rule: |plan| plan.signal(GETPPID),
        // A call's number is all that this one asks for.
        filtered: [|plan| plan.signal(u32::MAX), |plan| plan.signal(GETPPID)],
    },
];

/// Nanoseconds of each event: the empty program's, and ours beyond it, one for each turn.
#[derive(Default)]
struct Measured {
    empty: Vec<f64>,
    beyond: [Vec<f64>; STATES.len()],
}

pub(super) fn run(object: &Path, root: &Path, turns: u32) -> Result<()> {
    let _statistics = Statistics::on()?;
    let ground = Ground::make(root)?;
    let mut bench = Bench::prepare(&ground, object)?;
    println!(
        "| ns an event | the empty program beside it | beyond it: {} |",
        STATES.join(" | ")
    );
    println!("|---|---|{}", "---|".repeat(STATES.len()));
    for hook in &HOOKS {
        if let Some(reason) = bench.ours.refusal((hook.rule)(Plan::of(0.0, 1)).kind()) {
            println!("| {} | this kernel refuses it: {reason} |", hook.program);
            continue;
        }
        let measured = bench
            .measure(hook, turns)
            .with_context(|| format!("cannot measure {}", hook.program))?;
        print!("| {} | {:.0} |", hook.program, median(&measured.empty));
        for beyond in &measured.beyond {
            print!(" {:+.0} |", median(beyond));
        }
        println!();
    }
    println!();
    Ok(())
}

struct Bench {
    worker: Worker,
    ours: Loader,
    our_programs: BTreeSet<u32>,
    empty: Loader,
    empty_programs: BTreeSet<u32>,
}

impl Bench {
    fn prepare(ground: &Ground, object: &Path) -> Result<Self> {
        let bytes =
            fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), swapped(&bytes)?)?;

        let worker = Worker::start(&[], &ground.unit)?;
        let ours = ground.load(object)?;
        let our_programs: BTreeSet<u32> = run_time::read()?.into_keys().collect();
        let empty = ground.load(file.path())?;
        let mut empty_programs: BTreeSet<u32> = run_time::read()?.into_keys().collect();
        empty_programs.retain(|id| !our_programs.contains(id));
        Ok(Self {
            worker,
            ours,
            our_programs,
            empty,
            empty_programs,
        })
    }

    fn measure(&mut self, hook: &Hook, turns: u32) -> Result<Measured> {
        let plan = Plan::of(0.0, 1);
        let rule = (hook.rule)(plan);
        // Attached from here on, both for the whole time.
        let armed = self.ours.arm(UNIT, &rule)?;
        self.ours.disarm(armed)?;
        let beside = self.empty.arm(UNIT, &rule)?;
        let rules = [
            None,
            Some((OTHER, rule)),
            Some((UNIT, rule)),
            Some((UNIT, (hook.filtered[0])(plan))),
            Some((UNIT, (hook.filtered[1])(plan))),
        ];
        let mut measured = Measured::default();
        for _ in 0..turns {
            for (beyond, rule) in measured.beyond.iter_mut().zip(&rules) {
                let armed = match rule {
                    Some((unit, rule)) => Some(self.ours.arm(unit, rule)?),
                    None => None,
                };
                let (ours_ns, empty_ns) = self.turn(hook)?;
                if let Some(armed) = armed {
                    self.ours.disarm(armed)?;
                }
                beyond.push(ours_ns - empty_ns);
                measured.empty.push(empty_ns);
            }
        }
        self.empty.disarm(beside)?;
        self.ours.detach_idle();
        self.empty.detach_idle();
        Ok(measured)
    }

    /// Works, and gives the mean time of an event in ours and in the empty program.
    fn turn(&mut self, hook: &Hook) -> Result<(f64, f64)> {
        self.worker.ask(&format!("{} {WARM_UP}", hook.work))?;
        let before = run_time::read()?;
        self.worker.ask(&format!("{} {TIMES}", hook.work))?;
        let after = run_time::read()?;
        let of = |programs: &BTreeSet<u32>| {
            let only = |times: &RunTimes| {
                let times = times.iter().filter(|(id, _)| programs.contains(id));
                times.map(|(id, time)| (*id, *time)).collect()
            };
            run_time::busiest(&only(&before), &only(&after))
        };
        let (ours, empty) = (of(&self.our_programs)?, of(&self.empty_programs)?);
        // Some of what happens between the two readings is this program's own.
        ensure!(
            ours.events >= u64::from(TIMES)
                && ours.events.abs_diff(empty.events) <= u64::from(TIMES) / 5,
            "{} events in ours, {} in the empty program beside it",
            ours.events,
            empty.events
        );
        Ok((ours.mean_ns(), empty.mean_ns()))
    }
}
