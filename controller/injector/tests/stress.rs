//! The process that burns CPU, and the actor that starts it in a cgroup.
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail anywhere; clippy sees only functions marked as tests"
)]

mod support;

use std::{
    fs,
    io::Write,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use observastack_injector::host::{
    actors::{Actor, ActorCounts, CpuStress, Work},
    hands::{self, Options},
    journal::Journal,
    timer::Unarmed,
};
use observastack_loader::clock::monotonic_ns;
use support::{Cgroup, INJECTOR, is_root, wait};

fn burner(end_ns: u64) -> Child {
    Command::new(INJECTOR)
        .args(["stress", "--percent", "20", "--end-ns", &end_ns.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

fn lives(child: &mut Child) -> bool {
    child.try_wait().unwrap().is_none()
}

/// Beats for so long.
fn beat(child: &mut Child, how_long: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < how_long {
        child.stdin.as_mut().unwrap().write_all(&[1]).unwrap();
        thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn it_burns_while_it_hears_beats_and_ends_soon_after_the_last() {
    let mut child = burner(u64::MAX);
    beat(&mut child, Duration::from_millis(700));
    assert!(lives(&mut child));
    let took = wait("the end after silence", || !lives(&mut child));
    assert!(
        took > Duration::from_millis(60) && took < Duration::from_millis(500),
        "{took:?}"
    );
}

#[test]
fn it_ends_when_its_pipe_closes() {
    let mut child = burner(u64::MAX);
    beat(&mut child, Duration::from_millis(200));
    assert!(lives(&mut child));
    child.stdin = None;
    let took = wait("the end after the pipe was closed", || !lives(&mut child));
    assert!(took < Duration::from_millis(140), "{took:?}");
}

#[test]
fn it_ends_at_its_end() {
    let mut child = burner(monotonic_ns() + 300_000_000);
    let begun = Instant::now();
    while lives(&mut child) {
        let _ = child.stdin.as_mut().unwrap().write_all(&[1]);
        thread::sleep(Duration::from_millis(20));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(
        begun.elapsed() > Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_cgroup_that_is_not_there_is_named() {
    let output = Command::new(INJECTOR)
        .args([
            "stress",
            "--percent",
            "20",
            "--end-ns",
            "1",
            "--cgroup",
            "/nonexistent/cgroup",
        ])
        .stdin(Stdio::piped())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/nonexistent/cgroup"), "{said}");
}

#[test]
fn the_load_is_the_cgroups_own_and_survives_a_kill_of_its_processes() {
    if !is_root() {
        return;
    }
    let cgroup = Cgroup::new("stress");
    let directory = tempfile::tempdir().unwrap();
    let (hands, thread) = hands::spawn(Options {
        journal: Journal::open(&directory.path().join("journal")).unwrap(),
        lease: directory.path().join("lease"),
        guard: None,
        armer: Box::new(Unarmed),
    })
    .unwrap();
    let counts = Arc::new(ActorCounts::default());
    let actor = Actor::CpuStress(CpuStress {
        cgroup: Some(cgroup.path.clone()),
        processes: 2,
        percent: 25,
        binary: INJECTOR.into(),
    });
    let end_ns = monotonic_ns() + 60_000_000_000;
    hands
        .apply(
            7,
            "shop.service",
            end_ns,
            vec![],
            Some(Work {
                actor,
                counts: Arc::clone(&counts),
                is_covert: false,
            }),
        )
        .wait()
        .unwrap();
    wait("the load has begun", || cgroup.pids().len() == 3);
    let (before_us, begun) = (cgroup.usage_us(), Instant::now());
    thread::sleep(Duration::from_secs(2));
    let share = (cgroup.usage_us() - before_us) as f64 / begun.elapsed().as_micros() as f64;
    // Two times a quarter; a busy machine may give less.
    assert!((0.2..0.7).contains(&share), "{share}");

    // The injector's priority is not the load's.
    let burner = cgroup.pids()[1];
    let stat = fs::read_to_string(format!("/proc/{burner}/stat")).unwrap();
    let nice = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(16)
        .unwrap()
        .to_owned();
    assert_eq!(nice, "0");

    for pid in &cgroup.pids()[1..] {
        let pid = rustix::process::Pid::from_raw(*pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    wait("the load is back", || {
        cgroup.pids().len() == 3 && counts.injected.load(Ordering::Relaxed) == 4
    });
    hands.revert(7).wait().unwrap();
    assert_eq!(cgroup.pids().len(), 1);
    drop(hands);
    thread.join().unwrap();
}
