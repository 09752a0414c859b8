//! Probes of CPUs, memory, devices and processes.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, time::Duration};

use anyhow::{Context, Result, ensure};
use observastack_loader::{
    abi::telemetry::{block_io::operation, histogram::Histogram},
    observer::{Probe, Snapshot, event, event::kind},
};

use super::{Case, OTHER_INSTANCE, SYS_GETPPID, WORKER, events_of, index, snapshot};
use crate::{
    expect::Kernel,
    scene::{Scene, figure},
    tool::Disk,
};

pub(in crate::cases) const CASES: &[Case] = &[
    (
        "waits_for_a_cpu_are_what_schedstat_says_and_name_who_came_instead",
        run_queue,
    ),
    ("page_faults_are_those_of_the_unit", page_faults),
    ("block_io_is_told_by_device_and_operation", block_io),
    (
        "a_delaying_device_is_told_beside_the_one_below_it",
        delayed_device,
    ),
    ("programs_and_ends_are_told_with_their_reasons", processes),
    ("a_kill_for_want_of_memory_is_told_as_one", oom),
    (
        "sleeps_are_told_by_their_calls_and_without_waits_for_a_cpu",
        off_cpu,
    ),
    (
        "system_calls_are_told_of_the_unit_that_was_asked_for",
        syscalls,
    ),
];

/// Two units compute on one CPU: each waits for the other, and a third one is not concerned.
fn run_queue(scene: &mut Scene) -> Result<()> {
    let length = Duration::from_millis(1500);
    let mut worker = scene.unit(WORKER)?;
    let mut hog = scene.unit(OTHER_INSTANCE)?;
    let _quiet = scene.unit("quiet.service")?;
    let mut observer = scene.observe(&[Probe::RunQueue])?;
    hog.begin_burn(0, length)?;
    worker.begin_burn(0, length)?;
    let waited = [hog.waited_ns()?, worker.waited_ns()?];
    let read = snapshot(&mut observer)?;
    let (hog, worker) = (index(&read, OTHER_INSTANCE)?, index(&read, WORKER)?);
    for (unit, waited_ns) in [(hog, waited[0]), (worker, waited[1])] {
        let told = read.run_queue[&unit];
        figure(&format!(
            "{}: {} ms told in {} waits, {} ms by schedstat",
            read.units[&unit],
            told.sum_ns / 1_000_000,
            told.count(),
            waited_ns / 1_000_000
        ));
        ensure!(
            waited_ns > 200_000_000,
            "they were not in each other's way: {waited:?}"
        );
        // Schedstat is read by the task itself, a little earlier and later than the probe was asked.
        ensure!(
            told.sum_ns >= waited_ns * 9 / 10 && told.sum_ns <= waited_ns * 11 / 10 + 50_000_000,
            "{} ns told, {waited_ns} by schedstat",
            told.sum_ns
        );
    }
    for pair in [(worker, hog), (hog, worker)] {
        let preemptions = read
            .preemptions
            .get(&pair)
            .with_context(|| format!("no {pair:?} in {:?}", read.preemptions))?;
        ensure!(preemptions.count >= 5, "{pair:?}: {preemptions:?}");
        ensure!(
            preemptions.ran_ns > 100_000_000,
            "{pair:?}: {preemptions:?}"
        );
    }
    let quiet = read.run_queue[&index(&read, "quiet.service")?];
    ensure!(quiet.sum_ns < 100_000_000, "a unit that sleeps: {quiet:?}");
    ensure!(
        read.losses.run_queue < 20,
        "{} waits lost",
        read.losses.run_queue
    );
    Ok(())
}

fn page_faults(scene: &mut Scene) -> Result<()> {
    // A power of two above what a huge page takes in at once: with transparent ones a fault is 512 pages.
    const PAGES: usize = 4096;
    let mut worker = scene.unit(WORKER)?;
    let mut quiet = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::PageFault])?;
    let counted = worker.touch(PAGES)?;
    quiet.touch(1)?;
    let read = snapshot(&mut observer)?;
    let told = read.counters[&index(&read, WORKER)?].page_faults;
    figure(&format!("{told} told, {counted} by /proc"));
    // The kernel's own counts faults in its mode too, and some that are not minor are not in it.
    ensure!(
        told.abs_diff(counted) <= 60,
        "{told} told, {counted} by /proc"
    );
    let other = read.counters[&index(&read, OTHER_INSTANCE)?].page_faults;
    ensure!(other < 60, "{other} faults of one that touched a page");
    Ok(())
}

/// What was told of a device, by operation.
fn of_device(read: &Snapshot, unit: u32, device: u32) -> BTreeMap<&'static str, Histogram> {
    let of = read
        .block_io
        .iter()
        .filter(|(series, _)| series.unit == unit && series.device == device);
    of.map(|(series, times)| (operation::NAMES[series.operation as usize], *times))
        .collect()
}

/// A device's number as the kernel has it.
fn number_of(path: &str) -> Result<u32> {
    let number = fs::metadata(path)
        .with_context(|| format!("{path} is not there"))?
        .rdev();
    Ok(rustix::fs::major(number) << 20 | rustix::fs::minor(number))
}

fn block_io(scene: &mut Scene) -> Result<()> {
    let disk = Disk::new(16)?;
    let device = number_of(&disk.device)?;
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::BlockIo])?;
    worker.direct_io(&disk.device, [40, 25, 6])?;
    other.direct_io(&disk.device, [3, 0, 0])?;
    let read = snapshot(&mut observer)?;
    let counts = |unit| -> Result<BTreeMap<&str, u64>> {
        let told = of_device(&read, index(&read, unit)?, device);
        Ok(told
            .iter()
            .map(|(operation, times)| (*operation, times.count()))
            .collect())
    };
    let told = counts(WORKER)?;
    ensure!(
        told == BTreeMap::from([("flush", 6), ("read", 40), ("write", 25)]),
        "{told:?} of device {device:#x} in {:?}",
        read.block_io.keys()
    );
    let told = counts(OTHER_INSTANCE)?;
    ensure!(told.get("read") == Some(&3), "{told:?}");
    ensure!(!told.contains_key("write"), "{told:?}");
    Ok(())
}

fn delayed_device(scene: &mut Scene) -> Result<()> {
    if scene.lab.kernel == Kernel::Native {
        figure("no dm-delay on this kernel");
        return Ok(());
    }
    const DELAY_MS: u64 = 60;
    let disk = Disk::new(16)?;
    let mapped = disk.map("observed", "delay", &DELAY_MS.to_string())?;
    let (above, below) = (number_of(&mapped.path)?, number_of(&disk.device)?);
    let mut worker = scene.unit(WORKER)?;
    let mut observer = scene.observe(&[Probe::BlockIo])?;
    worker.direct_io(&mapped.path, [10, 0, 0])?;
    let read = snapshot(&mut observer)?;
    let unit = index(&read, WORKER)?;
    let told = of_device(&read, unit, above);
    let reads = told.get("read").context("nothing told above")?;
    ensure!(reads.count() == 10, "{reads:?}");
    let mean_ms = reads.sum_ns / reads.count() / 1_000_000;
    let under: u64 = read
        .block_io
        .iter()
        .filter(|(series, _)| series.device == below)
        .map(|(_, times)| times.count())
        .sum();
    figure(&format!(
        "{mean_ms} ms above, {under} requests below, of {:?}",
        of_device(&read, unit, below).keys()
    ));
    ensure!(
        mean_ms >= DELAY_MS,
        "{mean_ms} ms where {DELAY_MS} were added"
    );
    ensure!(under == 10, "{under} below");
    Ok(())
}

fn processes(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut worker = scene.unit(WORKER)?;
    let victim = scene.unit(OTHER_INSTANCE)?;
    let calls = worker.prepare_calls(folder.path())?;
    let mut observer = scene.observe(&[Probe::Process])?;
    worker.call(calls, "exec", 12)?;
    // Threads are no processes.
    worker.call(calls, "clone", 5)?;
    let pid = victim.pid();
    drop(victim);
    let read = snapshot(&mut observer)?;
    let unit = index(&read, WORKER)?;
    let counters = read.counters[&unit];
    ensure!(
        (counters.execs, counters.exits, counters.exits_by_signal) == (12, 12, 0),
        "{counters:?}"
    );
    let victim = index(&read, OTHER_INSTANCE)?;
    let counters = read.counters[&victim];
    ensure!(
        (counters.exits, counters.exits_by_signal, counters.oom_kills) == (1, 1, 0),
        "{counters:?}"
    );
    let events = observer.events(usize::MAX);
    ensure!(
        events_of(&events, kind::EXEC, unit).len() == 12
            && events_of(&events, kind::EXIT, unit).len() == 12,
        "{events:?}"
    );
    let ended = events_of(&events, kind::EXIT, victim);
    let [ended] = ended.as_slice() else {
        anyhow::bail!("not one end: {ended:?}");
    };
    ensure!(
        (ended.pid, ended.code) == (pid, 9) && event::text(&ended.comm).starts_with("exe"),
        "{ended:?} of {pid}"
    );
    Ok(())
}

fn oom(scene: &mut Scene) -> Result<()> {
    if scene.lab.kernel == Kernel::Native {
        figure("no memory controller on this kernel's unified hierarchy");
        return Ok(());
    }
    let cgroup = scene.make_unit(WORKER)?;
    fs::write(cgroup.join("memory.max"), (24 << 20).to_string())?;
    let mut worker = scene.client(&cgroup)?;
    let mut observer = scene.observe(&[Probe::Process, Probe::Reclaim])?;
    worker.begin_eat(64 << 20)?;
    let signal = worker.killed_by()?;
    ensure!(signal == 9, "ended by signal {signal}");
    let by_kernel = fs::read_to_string(cgroup.join("memory.events"))?;
    ensure!(by_kernel.contains("oom_kill 1"), "{by_kernel}");
    let read = snapshot(&mut observer)?;
    let unit = index(&read, WORKER)?;
    let counters = read.counters[&unit];
    ensure!(
        (counters.oom_kills, counters.exits_by_signal) == (1, 1),
        "{counters:?}"
    );
    let events = observer.events(usize::MAX);
    let kills = events_of(&events, kind::OOM_KILL, unit);
    ensure!(kills.len() == 1, "{events:?}");
    let reclaims = read.reclaim[&unit];
    figure(&format!(
        "{} reclaims, {} µs",
        reclaims.count(),
        reclaims.sum_ns / 1000
    ));
    ensure!(reclaims.count() > 0, "nothing was reclaimed before it");
    Ok(())
}

/// A client sleeps for a known time in a known call, while another one keeps its CPU busy.
fn off_cpu(scene: &mut Scene) -> Result<()> {
    const SLEEPS: u64 = 20;
    const LENGTH: Duration = Duration::from_millis(20);
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::RunQueue, Probe::Syscalls])?;
    observer.observe_off_cpu(WORKER, true)?;
    worker.sleeps(SLEEPS, LENGTH)?;
    other.sleeps(3, LENGTH)?;
    let read = snapshot(&mut observer)?;
    let unit = index(&read, WORKER)?;
    ensure!(
        read.off_cpu.keys().all(|series| series.unit == unit),
        "a unit that nobody asked for: {:?}",
        read.off_cpu.keys()
    );
    // `clock_nanosleep(2)` of x86-64, and of the others.
    let number = if cfg!(target_arch = "x86_64") {
        230
    } else {
        115
    };
    let told: Vec<_> = read
        .off_cpu
        .iter()
        .filter(|(series, _)| series.cause == number)
        .collect();
    let [(_, times)] = told.as_slice() else {
        anyhow::bail!("{:?}", read.off_cpu.keys());
    };
    let mean_ms = times.sum_ns as f64 / times.count().max(1) as f64 / 1e6;
    figure(&format!("{} sleeps of {mean_ms:.1} ms", times.count()));
    ensure!(times.count() == SLEEPS, "{} of {SLEEPS}", times.count());
    // The clock of a sleep runs before the task leaves its CPU, so the kernel's time away is a little shorter.
    ensure!(
        (18.0..60.0).contains(&mean_ms),
        "{mean_ms:.1} ms of {LENGTH:?}"
    );
    observer.observe_off_cpu(WORKER, false)?;
    worker.sleeps(2, LENGTH)?;
    let after = snapshot(&mut observer)?;
    ensure!(
        after.off_cpu.values().map(Histogram::count).sum::<u64>()
            <= read.off_cpu.values().map(Histogram::count).sum::<u64>() + 2,
        "counted after it was switched off"
    );
    Ok(())
}

fn syscalls(scene: &mut Scene) -> Result<()> {
    /// `openat(2)` of x86-64.
    const SYS_OPENAT: u32 = 257;
    const ENOENT: u32 = 2;
    let folder = tempfile::tempdir()?;
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::Syscalls])?;
    observer.observe_syscalls(WORKER, true)?;
    worker.getppid(&folder.path().join("one"), 500)?;
    worker.open_missing(40)?;
    other.getppid(&folder.path().join("two"), 100)?;
    let read = snapshot(&mut observer)?;
    let (unit, other_unit) = (index(&read, WORKER)?, index(&read, OTHER_INSTANCE)?);
    let count = |unit, number| {
        let times = read.syscalls.get(&(unit, number));
        times.map_or(0, Histogram::count)
    };
    let getppid = count(unit, SYS_GETPPID);
    ensure!(getppid == 500, "{getppid} of 500");
    let missing = read.syscall_errors.get(&(unit, SYS_OPENAT, ENOENT));
    ensure!(missing == Some(&40), "{:?}", read.syscall_errors);
    ensure!(
        !read.syscalls.keys().any(|(of, _)| *of == other_unit),
        "calls of a unit that nobody asked for"
    );
    observer.observe_syscalls(WORKER, false)?;
    worker.getppid(&folder.path().join("three"), 50)?;
    let read = snapshot(&mut observer)?;
    let times = read.syscalls[&(unit, SYS_GETPPID)];
    ensure!(times.count() == 500, "counted after it was switched off");
    let unknown = observer.observe_syscalls("nobody.service", true);
    ensure!(unknown.is_err(), "a unit that is not there");
    Ok(())
}
