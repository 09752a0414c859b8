//! Faults of the data volume, which is there in a virtual machine only: seen by dd, df, dmsetup and psql.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use super::vm::{PLACE, VOLUME};
use crate::{
    command, ends,
    lab::{self, POSTGRESQL},
    story::test,
    systemd,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("vm_disk_delay_slows_writes_and_is_taken_off", disk_delay),
        test("vm_disk_delay_ends_in_every_way", disk_delay_ends),
        test("vm_disk_error_fails_reads_and_is_taken_off", disk_error),
        test("vm_disk_error_ends_in_every_way", disk_error_ends),
        test("vm_disk_fill_leaves_the_database_no_space", disk_fill),
        test("vm_disk_fill_ends_in_every_way", disk_fill_ends),
    ]
}

const LONG: &str = "10m";

pub(super) fn table() -> Result<String> {
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

fn inject(fault: &str, more: &[&str], held: &str) -> Result<u64> {
    lab::inject(&[&[fault, "--unit", POSTGRESQL, "--for", held], more].concat())
}

fn disk_delay() -> Result<()> {
    const DELAY: Duration = Duration::from_secs(3);
    let before = table()?;
    ensure!(before.contains(" linear "), "{before}");
    let id = inject("disk-delay", &["--write", "3s"], LONG)?;
    ensure!(table()?.contains(" delay "), "{}", table()?);
    let begun = Instant::now();
    dd(&["if=/dev/zero", &scratch(), "oflag=direct"])?.expect(0)?;
    let slow = begun.elapsed();
    lab::clear(id)?;
    ensure!(slow >= DELAY, "a write took {slow:?}");
    ensure!(table()? == before, "{} instead of {before}", table()?);
    remove_scratch()
}

fn table_ends(fault: &str, more: &[&str]) -> Result<()> {
    let before = table()?;
    ends::in_every_way(
        fault,
        ends::journalled(),
        |held| inject(fault, more, held),
        || Ok(table()? != before),
    )
}

fn disk_delay_ends() -> Result<()> {
    table_ends("disk-delay", &["--read", "5ms"])
}

/// dm-flakey learned to fail reads alone (`error_reads`) between the two kernels that these tests run on.
fn can_fail_reads_alone() -> Result<bool> {
    Ok(!fs::read_to_string("/proc/sys/kernel/osrelease")?.starts_with("6.1."))
}

fn disk_error() -> Result<()> {
    dd(&["if=/dev/zero", &scratch(), "oflag=direct"])?.expect(0)?;
    let before = table()?;
    if can_fail_reads_alone()? {
        reads_fail()?;
    } else {
        let ran = lab::ctl_ran(&[
            "inject",
            "disk-error",
            "--unit",
            POSTGRESQL,
            "--reads",
            "--for",
            LONG,
        ])?;
        ran.expect(1)?;
        ran.says(&["cannot fail reads alone", "error_reads"])?;
        writes_fail()?;
    }
    ensure!(table()? == before, "{} instead of {before}", table()?);
    remove_scratch()
}

fn reads_fail() -> Result<()> {
    let read = || {
        dd(&[
            &format!("if={PLACE}/scratch"),
            "of=/dev/null",
            "iflag=direct",
        ])
    };
    read()?.expect(0)?;
    let id = inject("disk-error", &["--reads"], LONG)?;
    ensure!(table()?.contains(" flakey "), "{}", table()?);
    let failed = read()?;
    lab::clear(id)?;
    is_io_error(&failed)?;
    read()?.expect(0)
}

/// The file system may lose its journal over it. What the fault's help says then: restart the unit, and its volume with it.
fn writes_fail() -> Result<()> {
    let id = inject("disk-error", &["--writes"], LONG)?;
    ensure!(table()?.contains(" flakey "), "{}", table()?);
    let failed = dd(&["if=/dev/zero", &scratch(), "oflag=direct", "conv=notrunc"])?;
    lab::clear(id)?;
    is_io_error(&failed)?;
    systemd::stop(VOLUME)?;
    systemd::start(POSTGRESQL)?;
    lab::wait_healthy()?;
    dd(&["if=/dev/zero", &scratch(), "oflag=direct"])?.expect(0)
}

fn is_io_error(ran: &command::Ran) -> Result<()> {
    ensure!(
        ran.code == 1 && ran.stderr.contains("Input/output error"),
        "under the fault: {} {}",
        ran.code,
        ran.stderr
    );
    Ok(())
}

/// In turns whose first is a good one for longer than this takes: what is looked for is the table.
fn disk_error_ends() -> Result<()> {
    table_ends(
        "disk-error",
        &["--writes", "--healthy", "300s", "--failing", "1s"],
    )
}

/// What df says is free, in bytes.
fn free() -> Result<u64> {
    let text = command::output(&["df", "--block-size=1", "--output=avail", PLACE])?;
    let avail = text.lines().nth(1).context("df says nothing")?;
    Ok(avail.trim().parse()?)
}

pub(super) fn fillers() -> Result<usize> {
    let names = fs::read_dir(PLACE)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<Result<_>>()?;
    Ok(names
        .iter()
        .filter(|name| name.to_string_lossy().contains("disk-fill"))
        .count())
}

fn disk_fill() -> Result<()> {
    const LEFT: u64 = 1 << 20;
    let write = "create table public.vm_fill as select repeat('x', 1000) as x from generate_series(1, 20000)";
    let before = free()?;
    ensure!(before > 64 << 20, "{before} bytes are free at the start");
    let id = inject("disk-fill", &["--leave", "1MiB"], LONG)?;
    let under = free()?;
    let failed = lab::sql(write);
    let reads = lab::sql("select count(*) > 0 from stock.items");
    lab::clear(id)?;
    ensure!(
        under < LEFT + (1 << 18) && under > LEFT / 2,
        "{under} bytes are free under the fault"
    );
    match failed {
        Err(error) if format!("{error:#}").contains("No space left on device") => {}
        other => bail!("under the fault: {other:?}"),
    }
    ensure!(reads? == "t", "the database does not answer any more");
    let after = free()?;
    ensure!(
        fillers()? == 0 && after > before - (64 << 20),
        "{after} bytes are free instead of {before}, {} files are left",
        fillers()?
    );
    lab::sql(write)?;
    lab::sql("drop table public.vm_fill").map(drop)
}

fn disk_fill_ends() -> Result<()> {
    ends::in_every_way(
        "disk-fill",
        ends::journalled(),
        |held| inject("disk-fill", &["--leave", "64MiB"], held),
        || Ok(fillers()? > 0),
    )
}
