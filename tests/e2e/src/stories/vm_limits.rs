//! Limits that need cgroup controllers, on the lab's own units in a virtual machine: set, met by the unit, and given back.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command, ends, figures, http,
    lab::{self, API_1, API_2, INVENTORY, POSTGRESQL},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("vm_cpu_quota_throttles_a_report", cpu_quota),
        test("vm_cpu_quota_ends_in_every_way", cpu_quota_ends),
        test("vm_memory_limit_is_set_and_given_back", memory_limit),
        test(
            "vm_memory_limit_below_what_is_used_kills_and_the_unit_comes_back",
            out_of_memory,
        ),
        test("vm_memory_limit_ends_in_every_way", memory_limit_ends),
        test("vm_tasks_limit_is_set_and_given_back", tasks_limit),
        test(
            "vm_tasks_limit_refuses_a_new_backend_and_keeps_the_others",
            no_more_tasks,
        ),
        test("vm_tasks_limit_ends_in_every_way", tasks_limit_ends),
    ]
}

const LONG: &str = "10m";

/// A file of the unit's cgroup; nothing where its controller is not in use, as without any limit.
fn cgroup_file(unit: &str, file: &str) -> Result<String> {
    let text = fs::read_to_string(systemd::cgroup(unit)?.join(file)).unwrap_or_default();
    Ok(text.trim().to_owned())
}

fn inject(fault: &str, unit: &str, (option, limit): (&str, &str), held: &str) -> Result<u64> {
    lab::inject(&[fault, "--unit", unit, option, limit, "--for", held])
}

/// A systemd property and the cgroup's file change with the fault, and are what they were after it.
fn limit(
    fault: &str,
    unit: &str,
    how: (&str, &str),
    (property, file): (&str, &str),
    (shown, written): (&str, &str),
) -> Result<()> {
    let now = || -> Result<(String, String)> {
        Ok((systemd::property(unit, property)?, cgroup_file(unit, file)?))
    };
    let before = now()?;
    let id = inject(fault, unit, how, LONG)?;
    let under = now()?;
    ensure!(
        under == (shown.to_owned(), written.to_owned()),
        "under the fault: {under:?}"
    );
    lab::clear(id)?;
    let after = now()?;
    ensure!(
        after == before,
        "after the clear: {after:?} instead of {before:?}"
    );
    let drop_ins = format!("/run/systemd/system.control/{unit}.d");
    ensure!(
        !fs::exists(&drop_ins)? || fs::read_dir(&drop_ins)?.count() == 0,
        "{drop_ins} has files"
    );
    Ok(())
}

/// Whoever looks at a property sees the fault act, and end.
fn ends_in_every_way(fault: &str, unit: &str, how: (&str, &str), property: &str) -> Result<()> {
    let before = systemd::property(unit, property)?;
    ends::in_every_way(
        fault,
        ends::journalled(),
        |held| inject(fault, unit, how, held),
        || Ok(systemd::property(unit, property)? != before),
    )
}

/// A report keeps a CPU busy for longer than its share of 100 ms.
fn cpu_quota() -> Result<()> {
    let report = || -> Result<()> {
        let answer = http::curl(&["http://127.0.0.1:8101/report/sales?algorithm=bad"])?;
        // Too slow for the service's own limit is an answer as well.
        ensure!(matches!(answer.status, 200 | 504), "{}", answer.status);
        Ok(())
    };
    let id = inject("cpu-quota", API_1, ("--quota", "20%"), LONG)?;
    let set = cgroup_file(API_1, "cpu.max")?;
    let throttled = || systemd::cgroup_value(API_1, "cpu.stat", "nr_throttled");
    let before = throttled()?;
    report()?;
    let after = throttled()?;
    lab::clear(id)?;
    figures::note(format!(
        "throttled in {} periods during one report at 20 %",
        after - before
    ));
    ensure!(set == "20000 100000", "cpu.max is {set}");
    ensure!(after > before, "never throttled");
    let given_back = cgroup_file(API_1, "cpu.max")?;
    ensure!(
        given_back.is_empty() || given_back.starts_with("max "),
        "cpu.max is {given_back} after the clear"
    );
    report()
}

fn cpu_quota_ends() -> Result<()> {
    ends_in_every_way("cpu-quota", API_1, ("--quota", "50%"), "CPUQuotaPerSecUSec")
}

fn memory_limit() -> Result<()> {
    limit(
        "memory-limit",
        INVENTORY,
        ("--limit", "256MiB"),
        ("MemoryMax", "memory.max"),
        ("268435456", "268435456"),
    )
}

/// The kernel kills, systemd starts it again, and it is killed again until the limit is gone.
fn out_of_memory() -> Result<()> {
    let old = lab::main_process(API_2)?;
    let kills = || -> Result<usize> {
        let log = command::output(&["journalctl", "-q", "-b", "-u", API_2, "-o", "cat"])?;
        Ok(log.matches("Failed with result 'oom-kill'").count())
    };
    let before = kills()?;
    let id = inject("memory-limit", API_2, ("--limit", "2MiB"), LONG)?;
    wait::until_true(wait::SOON, "the kernel has killed it", || {
        // Nothing may need memory before something asks for it.
        let _ = command::run(&[
            "curl",
            "--silent",
            "--max-time",
            "2",
            "http://127.0.0.1:8102/products?limit=100",
        ]);
        Ok(kills()? > before)
    })?;
    let bystander = http::curl(&["http://127.0.0.1:8101/products?limit=1"])?.status;
    lab::clear(id)?;
    ensure!(bystander == 200, "the bystander answers {bystander}");
    // A start that was refused for coming too often is the operator's to repeat.
    command::run(&["systemctl", "reset-failed", API_2])?;
    systemd::start(API_2)?;
    ensure!(lab::main_process(API_2)? != old, "it was never killed");
    lab::wait_healthy()
}

fn memory_limit_ends() -> Result<()> {
    ends_in_every_way(
        "memory-limit",
        INVENTORY,
        ("--limit", "256MiB"),
        "MemoryMax",
    )
}

fn tasks_limit() -> Result<()> {
    limit(
        "tasks-limit",
        API_2,
        ("--limit", "40"),
        ("TasksMax", "pids.max"),
        ("40", "40"),
    )
}

/// PostgreSQL forks for each connection.
fn no_more_tasks() -> Result<()> {
    lab::sql("select 1")?;
    let tasks: u64 = cgroup_file(POSTGRESQL, "pids.current")?
        .parse()
        .context("no pids.current: is the pids controller on?")?;
    let refused = || systemd::cgroup_value(POSTGRESQL, "pids.events", "max");
    let before = refused()?;
    // The pools' connections come and go: none may be free below the limit.
    let limit = tasks.saturating_sub(2).max(1).to_string();
    let id = inject("tasks-limit", POSTGRESQL, ("--limit", &limit), LONG)?;
    let failed = lab::sql("select 1");
    let (after, still) = (
        refused()?,
        http::curl(&["http://127.0.0.1:8101/products?limit=1"])?.status,
    );
    lab::clear(id)?;
    let why = match failed {
        Ok(answer) => anyhow::bail!("a new connection has answered {answer}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(
        why.contains("could not fork new process"),
        "a new connection failed for another reason: {why}"
    );
    ensure!(after > before, "pids.events counts {before}, then {after}");
    ensure!(still == 200, "with a connection from before: {still}");
    lab::sql("select 1").map(drop)
}

fn tasks_limit_ends() -> Result<()> {
    ends_in_every_way("tasks-limit", API_2, ("--limit", "40"), "TasksMax")
}
