//! Kernel telemetry: what each probe counts, compared with work of a known amount, on the unit that did it and on no other.

mod machine;
mod network;
mod profile;
mod trace;

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use observastack_loader::{
    abi::telemetry::OTHER,
    observer::{Observer, Probe, Snapshot, event::Event},
};

use super::Case;
use crate::{
    agent::Protocol,
    rules::{LOCALHOST, SYS_GETPPID},
    scene::{Scene, figure},
    traffic::Acceptor,
    wait,
};

pub(super) use self::{
    machine::CASES as MACHINE, network::CASES as NETWORK, profile::CASES as PROFILE,
    trace::CASES as TRACE,
};

pub(super) const CASES: &[Case] = &[
    ("every_probe_is_taken_by_this_kernel", every_probe),
    (
        "a_unit_is_known_before_its_first_process_and_keeps_its_counts",
        units,
    ),
    ("units_that_are_gone_make_room_for_others", many_units),
    (
        "what_is_switched_off_counts_nothing_and_costs_nothing",
        switched,
    ),
    ("events_that_do_not_fit_are_counted", losses),
    ("programs_tell_how_often_they_ran", runs),
];

/// The unit that works.
const WORKER: &str = "worker@1.service";
/// Another instance of it, which does something else.
const OTHER_INSTANCE: &str = "worker@2.service";

/// The index of a unit that must be known.
fn index(snapshot: &Snapshot, unit: &str) -> Result<u32> {
    let mut units = snapshot.units.iter();
    units
        .find_map(|(index, name)| (name == unit).then_some(*index))
        .with_context(|| format!("{unit} is not known: {:?}", snapshot.units))
}

fn snapshot(observer: &mut Observer) -> Result<Snapshot> {
    observer.follow()?;
    Ok(observer.snapshot()?)
}

/// Nothing is refused, and everything can be on at once and read.
fn every_probe(scene: &mut Scene) -> Result<()> {
    let mut observer = scene.observe(&Probe::ALL)?;
    for state in observer.states() {
        ensure!(state.is_on && state.refusal.is_none(), "{state:?}");
    }
    let read = snapshot(&mut observer)?;
    let counts = read
        .programs
        .iter()
        .filter_map(|program| Some((program.verified_instructions?, program.name)));
    let (most, name) = counts.max().context("no counts")?;
    figure(&format!("at most {most} instructions, {name}"));
    // A million is the end; a loop that every turn of is walked through comes close on 6.1.
    ensure!(most < 100_000, "{name} takes {most} instructions to verify");
    ensure!(read.lost_cgroups == 0, "{} cgroups lost", read.lost_cgroups);
    Ok(())
}

/// The kernel itself gives a new unit its index, and the same one after a restart.
fn units(scene: &mut Scene) -> Result<()> {
    let before = scene.make_unit("early.service")?;
    let mut observer = scene.observe(&[Probe::Process])?;
    let folder = tempfile::tempdir()?;
    let mut total = 0;
    let mut first_index = None;
    for round in 0..3 {
        let cgroup = scene.make_unit(WORKER)?;
        {
            let mut client = scene.client(&cgroup)?;
            let calls = client.prepare_calls(folder.path())?;
            client.call(calls, "exec", 5)?;
            total += 5;
        }
        scene.remove(&cgroup)?;
        let read = snapshot(&mut observer)?;
        let unit = index(&read, WORKER)?;
        ensure!(
            *first_index.get_or_insert(unit) == unit,
            "another index after a restart"
        );
        let execs = read.counters[&unit].execs;
        ensure!(execs == total, "round {round}: {execs} of {total} programs");
    }
    let mut early = scene.client(&before)?;
    let calls = early.prepare_calls(&folder.path().join("early"))?;
    early.call(calls, "exec", 7)?;
    let read = snapshot(&mut observer)?;
    let (early, worker) = (index(&read, "early.service")?, index(&read, WORKER)?);
    ensure!(early != worker, "two units have one index");
    ensure!(
        read.counters[&early].execs == 7,
        "{:?}",
        read.counters[&early]
    );
    ensure!(
        read.counters[&worker].execs == total,
        "one unit counts another's"
    );
    Ok(())
}

/// More units than there are indices: those that stay keep theirs, and a new one does not inherit what another one counted.
fn many_units(scene: &mut Scene) -> Result<()> {
    const UNITS: usize = 70;
    let folder = tempfile::tempdir()?;
    let mut staying = scene.unit(WORKER)?;
    let calls = staying.prepare_calls(folder.path())?;
    let mut observer = scene.observe(&[Probe::Process])?;
    staying.call(calls, "exec", 3)?;
    for number in 0..UNITS {
        let name = format!("transient-{number}.service");
        let cgroup = scene.make_unit(&name)?;
        // Ends, and is counted.
        drop(scene.client(&cgroup)?);
        scene.remove(&cgroup)?;
        wait::until(scene.deadline(), "there is room for the next", || {
            let read = snapshot(&mut observer)?;
            Ok(read.units.len() < 60)
        })?;
    }
    let read = snapshot(&mut observer)?;
    ensure!(read.lost_cgroups == 0, "{} lost", read.lost_cgroups);
    let last = index(&read, &format!("transient-{}.service", UNITS - 1))?;
    ensure!(
        read.counters[&last].exits == 1,
        "{:?}",
        read.counters[&last]
    );
    let worker = index(&read, WORKER)?;
    ensure!(
        read.counters[&worker].execs == 3,
        "{:?}",
        read.counters[&worker]
    );
    ensure!(
        !read
            .units
            .values()
            .any(|name| name == "transient-0.service"),
        "the first one is still known"
    );
    Ok(())
}

fn switched(scene: &mut Scene) -> Result<()> {
    let mut client = scene.unit(WORKER)?;
    let server = Acceptor::start(LOCALHOST)?;
    let mut observer = scene.observe(&[])?;
    let mut connected = |observer: &mut Observer| -> Result<u64> {
        client.connect(Protocol::Tcp, server.address, 10)?;
        let read = snapshot(observer)?;
        Ok(read.tcp_connect[&index(&read, WORKER)?].count())
    };
    ensure!(connected(&mut observer)? == 0, "counted while off");
    observer.switch_on(Probe::TcpConnect)?;
    observer.switch_on(Probe::TcpConnect)?;
    ensure!(connected(&mut observer)? == 10, "not counted while on");
    observer.switch_off(Probe::TcpConnect);
    ensure!(connected(&mut observer)? == 10, "counted while off again");
    observer.switch_on(Probe::TcpConnect)?;
    ensure!(connected(&mut observer)? == 20, "not counted once on again");
    Ok(())
}

/// Nobody reads: the ring buffer fills, and what does not fit is counted.
fn losses(scene: &mut Scene) -> Result<()> {
    const RESETS: u32 = 6000;
    let mut client = scene.unit(WORKER)?;
    let server = Acceptor::start(LOCALHOST)?;
    let mut observer = scene.observe(&[Probe::TcpReset])?;
    client.resets(server.address, RESETS)?;
    let read = snapshot(&mut observer)?;
    let sent = read.counters[&index(&read, WORKER)?].resets_sent;
    ensure!(sent == u64::from(RESETS), "{sent} of {RESETS} resets");
    let told = observer.events(usize::MAX).len() as u64;
    figure(&format!("{told} told, {} lost", read.losses.events));
    ensure!(read.losses.events > 0, "everything fitted");
    ensure!(
        told + read.losses.events == sent,
        "{told} told and {} lost of {sent}",
        read.losses.events
    );
    client.resets(server.address, 3)?;
    ensure!(
        observer.events(usize::MAX).len() == 3,
        "nothing comes after a loss"
    );
    Ok(())
}

/// The kernel's own statistics of the programs, where they are switched on.
fn runs(scene: &mut Scene) -> Result<()> {
    const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
    let before = fs::read_to_string(SWITCH)?;
    let mut client = scene.unit(WORKER)?;
    let observer = scene.observe(&[Probe::TcpConnect, Probe::Process])?;
    fs::write(SWITCH, "1")?;
    let server = Acceptor::start(LOCALHOST)?;
    let connected = client.connect(Protocol::Tcp, server.address, 10);
    fs::write(SWITCH, before.trim())?;
    connected?;
    let programs = observer.snapshot()?.programs;
    let of = |name| {
        let mut programs = programs.iter();
        programs.find(|program| program.name == name)
    };
    let connect = of("inet_sock_set_state").context("not told")?;
    ensure!(
        connect.count >= 20 && connect.time > Duration::ZERO,
        "{connect:?}"
    );
    let off = of("sched_switch").context("not told")?;
    ensure!(off.count == 0, "{off:?} is not attached");
    Ok(())
}

/// Events of one kind and unit.
fn events_of(events: &[Event], kind: u32, unit: u32) -> Vec<&Event> {
    let of = |event: &&Event| event.kind == kind && event.unit == unit;
    events.iter().filter(of).collect()
}
