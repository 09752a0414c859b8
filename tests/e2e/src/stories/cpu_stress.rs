//! `cpu-stress`: load inside the unit's own cgroup, seen by ps and the kernel's accounting.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command, ends, figures,
    lab::{self, API_1, API_2, INJECTOR},
    machine,
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "cpu_stress::two_workers_at_40_percent_burn_as_much_in_the_units_cgroup",
            burns,
        ),
        test("cpu_stress::it_outlives_a_restart_of_its_unit", restarted),
        test("cpu_stress::it_ends_in_every_way", every_way),
    ]
}

fn workers(unit: &str) -> Result<Vec<u32>> {
    let mut found = systemd::processes(unit)?;
    found.retain(|process| machine::is_load(*process));
    Ok(found)
}

fn inject(unit: &str, workers: &str, load: &str, held: &str) -> Result<u64> {
    let words = ["cpu-stress", "--unit", unit, "--workers", workers];
    lab::inject(&[&words[..], &["--load", load, "--for", held]].concat())
}

/// CPU seconds that a process has used, by ps.
fn cpu_s(process: u32) -> Result<f64> {
    let text = command::output(&["ps", "-o", "cputimes=", "-p", &process.to_string()])?;
    text.trim().parse().with_context(|| text.clone())
}

fn burns() -> Result<()> {
    let id = inject(API_1, "2", "40%", "10m")?;
    let burning = wait::until(wait::SOON, "two workers burn", || {
        let workers = workers(API_1)?;
        Ok((workers.len() == 2).then_some(workers))
    })?;
    // They are no more important than whom they disturb.
    for process in &burning {
        let nice = command::output(&["ps", "-o", "ni=", "-p", &process.to_string()])?;
        ensure!(nice.trim() == "0", "a worker has the niceness {nice}");
    }
    ensure!(workers(API_2)?.is_empty(), "the bystander has workers");
    let usage = |unit| systemd::cgroup_value(unit, "cpu.stat", "usage_usec");
    let (before, other_before, begun) = (usage(API_1)?, usage(API_2)?, Instant::now());
    wait::until_true(wait::SOON, "ps shows seconds of CPU", || {
        let used: Result<Vec<f64>> = burning.iter().map(|process| cpu_s(*process)).collect();
        Ok(used?.into_iter().all(|used| used >= 2.0))
    })?;
    let elapsed_us = begun.elapsed().as_micros() as f64;
    let share = (usage(API_1)? - before) as f64 / elapsed_us;
    let other = (usage(API_2)? - other_before) as f64 / elapsed_us;
    figures::note(format!(
        "two workers at 40 % use {share:.2} of a CPU in the unit's cgroup, the bystander uses {other:.2}"
    ));
    // Less where the machine has no CPU for them.
    ensure!((0.4..=1.1).contains(&share), "{share} CPUs instead of 0.8");
    ensure!(other < share / 2.0, "the bystander uses {other} CPUs");
    let ended = lab::clear(id)?;
    ensure!(workers(API_1)?.is_empty(), "workers are left");
    ensure!(lab::count(&ended, "injected")? == 2, "{ended}");
    let all = command::output(&["ps", "-eo", "args="])?;
    ensure!(
        !all.lines().any(|line| line.contains("injector stress")),
        "workers are left somewhere: {all}"
    );
    Ok(())
}

fn restarted() -> Result<()> {
    inject(API_2, "1", "20%", "10m")?;
    wait::until_true(wait::SOON, "a worker burns", || {
        Ok(workers(API_2)?.len() == 1)
    })?;
    let old = workers(API_2)?;
    systemd::restart(API_2)?;
    wait::until_true(wait::SOON, "a new worker burns", || {
        let new = workers(API_2)?;
        Ok(new.len() == 1 && new != old)
    })?;
    // A stopped unit is not kept from stopping, nor the injector.
    systemd::stop(API_2)?;
    ensure!(!systemd::is_active(API_2)?, "the unit has not stopped");
    systemd::start(API_2)?;
    wait::until_true(wait::SOON, "a worker burns after the start", || {
        Ok(workers(API_2)?.len() == 1)
    })?;
    systemd::stop(INJECTOR)?;
    ensure!(workers(API_2)?.is_empty(), "workers outlive the injector");
    Ok(())
}

fn every_way() -> Result<()> {
    ends::in_every_way(
        "cpu-stress",
        ends::journalled(),
        |held| inject(API_1, "1", "20%", held),
        || Ok(!workers(API_1)?.is_empty()),
    )
}
