//! Stacks of a unit's tasks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use observastack_loader::observer::{Probe, Sampling, Stack};

use super::{Case, OTHER_INSTANCE, WORKER};
use crate::scene::{Scene, figure};

pub(in crate::cases) const CASES: &[Case] = &[
    (
        "samples_are_as_many_as_the_time_on_a_cpu_and_of_the_unit_only",
        samples,
    ),
    ("sleeps_are_told_where_they_are_slept", sleeps),
    ("a_process_that_ends_does_not_sleep", ended),
    (
        "a_profile_of_which_nobody_asks_any_more_is_not_in_the_next",
        abandoned,
    ),
];

fn count(stacks: &[Stack]) -> u64 {
    stacks.iter().map(|stack| stack.count).sum()
}

fn samples(scene: &mut Scene) -> Result<()> {
    const HZ: u64 = 49;
    let length = Duration::from_secs(2);
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[])?;
    let sampling = Sampling::Cpu { frequency_hz: HZ };
    observer.profile(WORKER, sampling)?;
    other.begin_burn(0, length)?;
    worker.begin_burn(1, length)?;
    other.waited_ns()?;
    worker.waited_ns()?;
    let stacks = observer.end_profile()?;
    let count = count(&stacks);
    let with_user: u64 = stacks
        .iter()
        .filter(|stack| !stack.user.is_empty())
        .map(|stack| stack.count)
        .sum();
    figure(&format!(
        "{count} samples, {with_user} with the program's stack, {} different ones",
        stacks.len()
    ));
    let expected = HZ * length.as_secs();
    ensure!(
        count >= expected * 7 / 10 && count <= expected * 12 / 10,
        "{count} samples of about {expected}"
    );
    ensure!(with_user * 10 >= count * 9, "{with_user} of {count}");
    ensure!(
        stacks.iter().all(|stack| stack.process == worker.pid()),
        "another process: {stacks:?}"
    );
    Ok(())
}

/// Twenty sleeps of 20 ms before, during and after: only those within the profile, with their time, from the same place.
fn sleeps(scene: &mut Scene) -> Result<()> {
    const TIMES: u64 = 20;
    let length = Duration::from_millis(20);
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::RunQueue])?;
    worker.sleeps(TIMES, length)?;
    observer.profile(WORKER, Sampling::OffCpu)?;
    other.sleeps(TIMES, length)?;
    worker.sleeps(TIMES, length)?;
    let stacks = observer.end_profile()?;
    worker.sleeps(TIMES, length)?;
    // The agent also waits for its next order, elsewhere.
    let told = stacks
        .iter()
        .find(|stack| stack.count == TIMES)
        .with_context(|| format!("no place with {TIMES} sleeps: {stacks:?}"))?;
    figure(&format!(
        "{TIMES} sleeps, {:.1} ms each, below {} functions of the kernel and {} of the program",
        told.time_ns as f64 / 1e6 / TIMES as f64,
        told.kernel.len(),
        told.user.len()
    ));
    let slept = length.as_nanos() as u64 * TIMES;
    ensure!(
        told.time_ns >= slept && told.time_ns < slept * 3 / 2,
        "{} ns of {slept}",
        told.time_ns
    );
    ensure!(
        !told.kernel.is_empty() && !told.user.is_empty(),
        "no stack: {told:?}"
    );
    ensure!(
        stacks.iter().all(|stack| stack.process == worker.pid()),
        "another process: {stacks:?}"
    );
    // What came later is not in the next one.
    observer.profile(WORKER, Sampling::OffCpu)?;
    let next = observer.end_profile()?;
    ensure!(count(&next) == 0, "left over: {next:?}");
    Ok(())
}

/// Where a function of the kernel's begins and ends.
fn range_of(function: &str) -> Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/kallsyms")?;
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((address, words.nth(1)?))
    });
    let all: Vec<(u64, &str)> = addresses.collect();
    let start = all.iter().find(|(_, name)| *name == function);
    let start = start.with_context(|| format!("no {function}"))?.0;
    let end = all.iter().map(|(at, _)| *at).filter(|at| *at > start).min();
    Ok((start, end.context("nothing behind it")?))
}

/// Its last switch is for ever, and its place in memory is the next one's.
fn ended(scene: &mut Scene) -> Result<()> {
    const PROCESSES: u32 = 60;
    let folder = tempfile::tempdir()?;
    let (from, to) = range_of("do_task_dead")?;
    let mut worker = scene.unit(WORKER)?;
    let calls = worker.prepare_calls(folder.path())?;
    let mut observer = scene.observe(&[Probe::RunQueue])?;
    observer.profile(WORKER, Sampling::OffCpu)?;
    worker.call(calls, "exec", PROCESSES)?;
    let stacks = observer.end_profile()?;
    let is_dead = |stack: &&Stack| stack.kernel.iter().any(|at| (from..to).contains(at));
    let dead: Vec<&Stack> = stacks.iter().filter(is_dead).collect();
    figure(&format!(
        "{} sleeps while {PROCESSES} processes ended",
        count(&stacks)
    ));
    // Whoever starts them waits for each.
    ensure!(count(&stacks) >= u64::from(PROCESSES), "{stacks:?}");
    ensure!(dead.is_empty(), "ended, and slept: {dead:?}");
    Ok(())
}

/// Whoever began it is gone; the next one, of another unit, has its own only.
fn abandoned(scene: &mut Scene) -> Result<()> {
    let length = Duration::from_millis(400);
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::RunQueue])?;
    let cpu = Sampling::Cpu { frequency_hz: 199 };
    observer.profile(WORKER, cpu)?;
    worker.begin_burn(0, length)?;
    worker.waited_ns()?;
    observer.profile(OTHER_INSTANCE, cpu)?;
    worker.begin_burn(0, length)?;
    worker.waited_ns()?;
    let next = observer.end_profile()?;
    ensure!(count(&next) == 0, "another unit's: {next:?}");
    observer.profile(WORKER, cpu)?;
    let again = observer.end_profile()?;
    ensure!(count(&again) <= 2, "left over: {again:?}");
    other.sleeps(1, Duration::from_millis(1))
}
