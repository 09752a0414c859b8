//! Events of traced units, one by one.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use observastack_loader::observer::{
    Observer, Probe,
    trace::{Traced, addresses, flag, kind},
};

use super::{Case, OTHER_INSTANCE, SYS_GETPPID, WORKER, index, snapshot};
use crate::{
    agent::Protocol,
    rules::LOCALHOST,
    scene::{Scene, figure},
    traffic::Acceptor,
};

pub(in crate::cases) const CASES: &[Case] = &[
    ("system_calls_are_told_with_arguments_and_results", syscalls),
    ("connections_are_told_with_their_states_and_both_ends", tcp),
    (
        "a_flood_of_events_is_told_or_counted_and_takes_no_memory",
        flood,
    ),
    ("stays_on_a_cpu_add_up_to_its_time", sched),
];

/// Everything of one kind that was told of a unit.
fn told(observer: &mut Observer, unit: &str, kind: u32) -> Result<Vec<Traced>> {
    let read = snapshot(observer)?;
    ensure!(read.losses.traced == 0, "{} lost", read.losses.traced);
    let (index, mut events) = (index(&read, unit)?, observer.traced(usize::MAX));
    ensure!(
        events.iter().all(|event| event.unit == index),
        "an event of another unit"
    );
    events.retain(|event| event.kind == kind);
    Ok(events)
}

fn syscalls(scene: &mut Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::Syscalls])?;
    observer.trace(WORKER, flag::SYSCALLS, true)?;
    worker.getppid(&folder.path().join("one"), 30)?;
    worker.open_missing(7)?;
    other.getppid(&folder.path().join("two"), 30)?;
    let events = told(&mut observer, WORKER, kind::SYSCALL)?;
    let of = |number: u32| events.iter().filter(move |event| event.what == number);
    ensure!(of(SYS_GETPPID).count() == 30, "{}", of(SYS_GETPPID).count());
    for event in of(SYS_GETPPID) {
        // Its parent is this process.
        ensure!(
            event.value == i64::from(std::process::id()) && event.process == worker.pid(),
            "{event:?}"
        );
        ensure!((1..1_000_000_000).contains(&event.duration_ns), "{event:?}");
    }
    #[cfg(target_arch = "x86_64")]
    {
        const SYS_OPENAT: u32 = 257;
        const AT_FDCWD: i32 = -100;
        let missing: Vec<_> = of(SYS_OPENAT).filter(|event| event.value == -2).collect();
        ensure!(missing.len() == 7, "{} failed", missing.len());
        ensure!(
            missing
                .iter()
                .all(|event| event.arguments[0] as i32 == AT_FDCWD && event.arguments[1] != 0),
            "{missing:?}"
        );
    }
    // They are not counted beside it.
    ensure!(snapshot(&mut observer)?.syscalls.is_empty(), "counted");
    observer.trace(WORKER, flag::SYSCALLS, false)?;
    observer.traced(usize::MAX);
    worker.getppid(&folder.path().join("three"), 30)?;
    ensure!(observer.traced(usize::MAX).is_empty(), "still traced");
    Ok(())
}

fn tcp(scene: &mut Scene) -> Result<()> {
    const SYN_SENT: u32 = 2;
    const ESTABLISHED: u32 = 1;
    let mut worker = scene.unit(WORKER)?;
    let mut other = scene.unit(OTHER_INSTANCE)?;
    let server = Acceptor::start(LOCALHOST)?;
    let mut observer = scene.observe(&[Probe::TraceTcp])?;
    observer.trace(WORKER, flag::TCP, true)?;
    worker.connect(Protocol::Tcp, server.address, 5)?;
    worker.resets(server.address, 3)?;
    other.connect(Protocol::Tcp, server.address, 4)?;
    let read = snapshot(&mut observer)?;
    let unit = index(&read, WORKER)?;
    let events = observer.traced(usize::MAX);
    ensure!(
        events.iter().all(|event| event.unit == unit),
        "an event of another unit"
    );
    let made: Vec<_> = events
        .iter()
        .filter(|event| event.kind == kind::TCP_STATE && event.what == SYN_SENT << 8 | ESTABLISHED)
        .collect();
    ensure!(made.len() == 8, "{} connections: {events:?}", made.len());
    for event in &made {
        let [local, remote] = addresses(event).context("no addresses")?;
        ensure!(
            local == LOCALHOST
                && remote == LOCALHOST
                && event.remote_port == server.address.port()
                && event.local_port != 0,
            "{event:?}"
        );
    }
    let resets = events
        .iter()
        .filter(|event| event.kind == kind::TCP_RESET_SENT);
    ensure!(resets.count() == 3, "{events:?}");
    Ok(())
}

fn sched(scene: &mut Scene) -> Result<()> {
    let length = Duration::from_millis(1000);
    let mut worker = scene.unit(WORKER)?;
    let mut hog = scene.unit(OTHER_INSTANCE)?;
    let mut observer = scene.observe(&[Probe::RunQueue])?;
    observer.trace(WORKER, flag::SCHED, true)?;
    hog.begin_burn(0, length)?;
    worker.begin_burn(0, length)?;
    let (_, waited_ns) = (hog.waited_ns()?, worker.waited_ns()?);
    let events = told(&mut observer, WORKER, kind::SCHED)?;
    let mine: Vec<_> = events
        .iter()
        .filter(|event| event.process == worker.pid())
        .collect();
    let ran_ns: u64 = mine.iter().map(|event| event.duration_ns).sum();
    let waits: i64 = mine.iter().map(|event| event.value.max(0)).sum();
    let preempted = mine.iter().filter(|event| event.what == 1).count();
    figure(&format!(
        "{} stays, {} ms on the CPU, {} ms of waits ({} by schedstat), preempted {preempted} times",
        mine.len(),
        ran_ns / 1_000_000,
        waits / 1_000_000,
        waited_ns / 1_000_000
    ));
    ensure!(preempted >= 3, "preempted {preempted} times");
    let all_ns = ran_ns + waits.unsigned_abs();
    // What it does before and after is told as well.
    ensure!(
        (900_000_000..=1_500_000_000).contains(&all_ns),
        "{all_ns} ns of {length:?}"
    );
    ensure!(
        waits.unsigned_abs().abs_diff(waited_ns) <= waited_ns / 10 + 50_000_000,
        "{waits} ns of waits, {waited_ns} by schedstat"
    );
    Ok(())
}

/// This process's memory in KiB, as the kernel has it.
fn memory_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().next());
    Ok(figure.context("no VmRSS")?.parse()?)
}

/// System calls as fast as they go, read as the observer reads them: every one of them is told or counted as lost.
fn flood(scene: &mut Scene) -> Result<()> {
    const TICK: Duration = Duration::from_millis(20);
    const EVENTS: usize = 16_384;
    let length = Duration::from_secs(4);
    let mut worker = scene.unit(WORKER)?;
    let mut observer = scene.observe(&[Probe::Syscalls])?;
    observer.trace(WORKER, flag::SYSCALLS, true)?;
    worker.begin_hammer(length)?;
    let started = Instant::now();
    let (mut told, mut memory) = (0, Vec::new());
    let mut calls = |observer: &mut Observer| {
        let events = observer.traced(EVENTS);
        let is_call = |event: &&Traced| event.what == SYS_GETPPID;
        told += events.iter().filter(is_call).count() as u64;
        events.len()
    };
    while started.elapsed() < length {
        calls(&mut observer);
        if started.elapsed() > length / 4 {
            memory.push(memory_kib()?);
        }
        std::thread::sleep(TICK);
    }
    let made = worker.made()?;
    while calls(&mut observer) > 0 {}
    let lost = snapshot(&mut observer)?.losses.traced;
    let (first, last) = (memory.first().copied(), memory.last().copied());
    let (first, last) = (first.context("no figures")?, last.context("no figures")?);
    figure(&format!(
        "{made} calls, {:.0} a second: {told} told, {lost} lost; {first} KiB, then {last}",
        made as f64 / length.as_secs_f64()
    ));
    // A few other calls of the worker may be among the lost ones.
    ensure!(
        told <= made && told + lost >= made && told + lost <= made + 100,
        "{told} told and {lost} lost of {made}"
    );
    ensure!(told > 0, "nothing was told");
    // The events of one look are held, while their vector grows twice; what is left of others would be many times that.
    let held_kib = (3 * EVENTS * size_of::<Traced>() / 1024) as u64;
    ensure!(
        last < first + 4096 + held_kib,
        "{first} KiB, then {last} KiB"
    );
    Ok(())
}
