//! Faults that only a virtual machine with Debian's stock kernel can do: queues, security hooks, cgroup controllers, disks.
//!
//! Emulated, everything takes 10 to 20 times as long: lower bounds and events are asked for, never how fast something was.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use libtest_mimic::Trial;

use super::vm::PLACE;
use crate::{
    command, http,
    lab::{self, API_1, API_2, INVENTORY, POSTGRESQL},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "vm_latency_delays_one_api_and_takes_its_queue_away",
            latency,
        ),
        test(
            "vm_syscall_error_fails_reads_below_a_path_only",
            syscall_error,
        ),
        test("vm_memory_limit_is_set_and_given_back", memory_limit),
        test("vm_tasks_limit_is_set_and_given_back", tasks_limit),
        test("vm_disk_delay_slows_writes_and_is_taken_off", disk_delay),
        test("vm_disk_error_fails_reads_and_is_taken_off", disk_error),
        test("vm_a_journalled_fault_ends_with_a_killed_injector", killed),
    ]
}

/// Long enough for everything that is done while a fault holds.
const LONG: &str = "10m";

fn took(url: &str) -> Result<Duration> {
    let begun = Instant::now();
    let answer = http::curl(&[url])?;
    ensure!(answer.status == 200, "{url} answers {}", answer.status);
    Ok(begun.elapsed())
}

fn latency() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(400);
    let queues = || command::output(&["tc", "qdisc", "show"]);
    let (one, two) = (
        "http://127.0.0.1:8101/products?limit=3",
        "http://127.0.0.1:8102/products?limit=3",
    );
    let before = queues()?;
    ensure!(!before.contains("qdisc fq "), "{before}");
    took(one)?;
    let id = lab::inject(&[
        "latency", "--unit", API_1, "--delay", "400ms", "--port", "5440", "--for", LONG,
    ])?;
    ensure!(queues()?.contains("qdisc fq "), "no queue");
    let slow = took(one)?;
    ensure!(
        slow >= DELAY,
        "an answer took {slow:?}, {DELAY:?} were asked"
    );
    let other = took(two)?;
    ensure!(
        other < slow,
        "the bystander took {other:?}, the target {slow:?}"
    );
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? > 0, "{ended}");
    ensure!(queues()? == before, "{} instead of {before}", queues()?);
    let after = took(one)?;
    ensure!(after < slow, "after the clear an answer took {after:?}");
    Ok(())
}

/// PostgreSQL reads one of its files with `pg_read_file`, which asks the kernel each time.
fn syscall_error() -> Result<()> {
    let read = "select length(pg_read_file('PG_VERSION'))";
    lab::sql(read)?;
    let path = format!("{PLACE}/data/PG_VERSION");
    let words = [
        "syscall-error",
        "--unit",
        POSTGRESQL,
        "--calls",
        "read",
        "--errno",
        "EIO",
    ];
    let id = lab::inject(&[&words[..], &["--path", &path, "--for", LONG]].concat())?;
    match lab::sql(read) {
        Err(error) if format!("{error:#}").contains("Input/output error") => {}
        other => bail!("under the fault: {other:?}"),
    }
    // Other files of the same server are read as before.
    lab::sql("select length(pg_read_file('postgresql.conf'))")?;
    let ended = lab::clear(id)?;
    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    ensure!(injected > 0 && matched == injected, "{ended}");
    lab::sql(read)?;
    Ok(())
}

/// A file of the unit's cgroup; nothing where its controller is not in use, as without any limit.
fn cgroup_file(unit: &str, file: &str) -> Result<String> {
    let text = fs::read_to_string(systemd::cgroup(unit)?.join(file)).unwrap_or_default();
    Ok(text.trim().to_owned())
}

/// A systemd property and the cgroup's file change with the fault, and are what they were after it.
fn limit(
    words: &[&str],
    unit: &str,
    (property, file): (&str, &str),
    (shown, written): (&str, &str),
) -> Result<()> {
    let now = || -> Result<(String, String)> {
        Ok((systemd::property(unit, property)?, cgroup_file(unit, file)?))
    };
    let before = now()?;
    let id = lab::inject(&[words, &["--unit", unit, "--for", LONG]].concat())?;
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

fn memory_limit() -> Result<()> {
    limit(
        &["memory-limit", "--limit", "256MiB"],
        INVENTORY,
        ("MemoryMax", "memory.max"),
        ("268435456", "268435456"),
    )
}

fn tasks_limit() -> Result<()> {
    limit(
        &["tasks-limit", "--limit", "40"],
        API_2,
        ("TasksMax", "pids.max"),
        ("40", "40"),
    )
}

fn table() -> Result<String> {
    Ok(command::output(&["dmsetup", "table", "observastack-data"])?
        .trim()
        .to_owned())
}

/// One block, past the page cache.
fn dd(words: &[&str]) -> Result<command::Ran> {
    command::run(&[&["dd", "bs=4k", "count=1"], words].concat())
}

fn scratch() -> String {
    format!("of={PLACE}/scratch")
}

fn remove_scratch() -> Result<()> {
    Ok(fs::remove_file(format!("{PLACE}/scratch"))?)
}

fn disk_delay() -> Result<()> {
    const DELAY: Duration = Duration::from_secs(3);
    let before = table()?;
    ensure!(before.contains(" linear "), "{before}");
    let id = lab::inject(&[
        "disk-delay",
        "--unit",
        POSTGRESQL,
        "--write",
        "3s",
        "--for",
        LONG,
    ])?;
    ensure!(table()?.contains(" delay "), "{}", table()?);
    let begun = Instant::now();
    dd(&["if=/dev/zero", &scratch(), "oflag=direct"])?.expect(0)?;
    let slow = begun.elapsed();
    lab::clear(id)?;
    ensure!(slow >= DELAY, "a write took {slow:?}");
    ensure!(table()? == before, "{} instead of {before}", table()?);
    remove_scratch()
}

fn disk_error() -> Result<()> {
    dd(&["if=/dev/zero", &scratch(), "oflag=direct"])?.expect(0)?;
    let read = || {
        dd(&[
            &format!("if={PLACE}/scratch"),
            "of=/dev/null",
            "iflag=direct",
        ])
    };
    read()?.expect(0)?;
    let before = table()?;
    let id = lab::inject(&["disk-error", "--unit", POSTGRESQL, "--reads", "--for", LONG])?;
    ensure!(table()?.contains(" flakey "), "{}", table()?);
    let failed = read()?;
    lab::clear(id)?;
    ensure!(
        failed.code == 1 && failed.stderr.contains("Input/output error"),
        "under the fault: {} {}",
        failed.code,
        failed.stderr
    );
    ensure!(table()? == before, "{} instead of {before}", table()?);
    read()?.expect(0)?;
    remove_scratch()
}

/// Whoever comes first, the unit's ExecStopPost, the next start or the guard, gives it back.
fn killed() -> Result<()> {
    let before = systemd::property(API_1, "CPUQuotaPerSecUSec")?;
    lab::inject(&[
        "cpu-quota",
        "--unit",
        API_1,
        "--quota",
        "50%",
        "--for",
        LONG,
    ])?;
    ensure!(
        systemd::property(API_1, "CPUQuotaPerSecUSec")? == "500ms",
        "not set"
    );
    let old = systemd::kill_9(lab::INJECTOR)?;
    wait::until_true(wait::SOON, "the quota is given back", || {
        Ok(systemd::property(API_1, "CPUQuotaPerSecUSec")? == before)
    })?;
    systemd::wait_restarted(lab::INJECTOR, old)
}
