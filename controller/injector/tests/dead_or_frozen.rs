//! What a killed or frozen injector leaves is gone within two seconds, with a guard; and whatever happens, by hand.
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail anywhere; clippy sees only functions marked as tests"
)]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use observastack_injector::host::{
    Freeze,
    actors::{Actor, ActorCounts, FreezePulses, Work},
    change::Change,
    guard,
    hands::{self, Options},
    journal::Journal,
    timer::Unarmed,
};
use observastack_loader::clock::monotonic_ns;
use rustix::process::Signal;
use support::{Cgroup, Killed, injector, is_root, wait};

/// Stated for every journalled fault.
const GONE: Duration = Duration::from_secs(2);

/// Stands in for the injector's process: applies a fault with the hands, and waits to be killed. Not a test by itself.
#[test]
#[ignore = "run by the other tests, in a process of its own"]
fn holder() {
    let (Ok(directory), Ok(cgroup)) = (env::var("HOLDER_DIRECTORY"), env::var("HOLDER_CGROUP"))
    else {
        return;
    };
    let (directory, cgroup) = (PathBuf::from(directory), PathBuf::from(cgroup));
    let (hands, _thread) = hands::spawn(Options {
        journal: Journal::open(&directory.join("state/journal")).unwrap(),
        lease: directory.join("injector.lease"),
        guard: Some(directory.join("guard")),
        armer: Box::new(Unarmed),
    })
    .unwrap();
    let pulsed = env::var("HOLDER_PULSES").is_ok();
    let freeze = Change::Freeze(Freeze {
        unit: "shop.service".to_owned(),
        cgroups: vec![cgroup.clone()],
        pulsed,
    });
    let pulses = Actor::FreezePulses(FreezePulses {
        unit: "shop.service".to_owned(),
        cgroups: vec![cgroup],
        period: Duration::from_millis(20),
        frozen: Duration::from_millis(19),
    });
    let actor = pulsed.then(|| Work {
        actor: pulses,
        counts: ActorCounts::default().into(),
        is_covert: false,
    });
    hands
        .apply(
            7,
            "shop.service",
            monotonic_ns() + 60_000_000_000,
            vec![freeze],
            actor,
        )
        .wait()
        .unwrap();
    thread::sleep(Duration::from_secs(60));
}

struct Scene {
    cgroup: Cgroup,
    guard: Killed,
    holder: Killed,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(name: &str, pulses: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cgroup = Cgroup::new(name);
        let guard = Killed(
            injector(directory.path())
                .arg("guard")
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        wait("a guard", || {
            guard::is_running(&directory.path().join("guard"))
        });
        let mut holder = Command::new(env::current_exe().unwrap());
        holder
            .args(["--ignored", "--exact", "holder"])
            .env("HOLDER_DIRECTORY", directory.path())
            .env("HOLDER_CGROUP", &cgroup.path)
            .stdout(Stdio::null());
        if pulses {
            holder.env("HOLDER_PULSES", "1");
        }
        let holder = Killed(holder.spawn().unwrap());
        wait("the fault", || cgroup.is_frozen());
        // Well beyond what the lease allows: it is renewed.
        thread::sleep(Duration::from_millis(1000));
        wait("the fault still", || cgroup.is_frozen());
        Self {
            cgroup,
            guard,
            holder,
            directory,
        }
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.directory.path().join("state/journal")).unwrap()
    }

    /// Waits until the fault is gone, within what is stated, and stays gone.
    fn assert_gone(&self) {
        let took = wait("the fault is gone", || {
            self.journal().is_empty().unwrap() && !self.cgroup.is_frozen()
        });
        assert!(took <= GONE, "{took:?}");
        eprintln!("gone after {took:?}");
    }

    fn assert_stays_gone(&self) {
        for _ in 0..300 {
            assert!(!self.cgroup.is_frozen());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_killed_injectors_fault_is_gone_within_two_seconds() {
    if !is_root() {
        return;
    }
    let scene = Scene::new("killed", false);
    scene.holder.signal(Signal::KILL);
    scene.assert_gone();
}

#[test]
fn a_frozen_injectors_fault_is_gone_within_two_seconds_and_does_not_come_back_with_it() {
    if !is_root() {
        return;
    }
    for pulses in [false, true] {
        let scene = Scene::new(if pulses { "pulses" } else { "frozen" }, pulses);
        scene.holder.signal(Signal::STOP);
        scene.assert_gone();
        scene.holder.signal(Signal::CONT);
        scene.assert_stays_gone();
        scene.guard.signal(Signal::TERM);
    }
}

/// A frozen cgroup in the journal of an injector that is dead.
fn left_behind(directory: &Path, cgroup: &Cgroup) -> Journal {
    let journal = Journal::open(&directory.join("state/journal")).unwrap();
    let freeze = Change::Freeze(Freeze {
        unit: "shop.service".to_owned(),
        cgroups: vec![cgroup.path.clone()],
        pulsed: false,
    });
    journal
        .apply(journal.entry(7, "shop.service", u64::MAX, vec![freeze]))
        .unwrap();
    wait("frozen", || cgroup.is_frozen());
    journal
}

fn revert(directory: &Path, arguments: &[&str]) -> String {
    let output = injector(directory)
        .arg("revert")
        .args(arguments)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn with_everybody_dead_root_reverts_by_hand() {
    if !is_root() {
        return;
    }
    let cgroup = Cgroup::new("offline");
    let directory = tempfile::tempdir().unwrap();
    let journal = left_behind(directory.path(), &cgroup);
    let said = revert(directory.path(), &["7"]);
    assert!(
        said.contains("fault 7") && journal.is_empty().unwrap() && !cgroup.is_frozen(),
        "{said}"
    );
    // Twice is no error, and neither is nothing.
    revert(directory.path(), &["7"]);
    assert!(revert(directory.path(), &["--all"]).contains("no change is journalled"));

    left_behind(directory.path(), &cgroup);
    fs::write(
        directory.path().join("injector.lease"),
        monotonic_ns().to_le_bytes(),
    )
    .unwrap();
    let said = revert(directory.path(), &["--all", "--if-lapsed"]);
    assert!(said.contains("alive") && cgroup.is_frozen(), "{said}");
    thread::sleep(Duration::from_millis(750));
    revert(directory.path(), &["--all", "--if-lapsed"]);
    wait("thawed", || !cgroup.is_frozen());
}

#[test]
fn a_panic_reverts_and_is_remembered() {
    if !is_root() {
        return;
    }
    let cgroup = Cgroup::new("panic");
    let directory = tempfile::tempdir().unwrap();
    left_behind(directory.path(), &cgroup);
    let said = revert(directory.path(), &["--all", "--panic"]);
    assert!(said.contains("no injector is alive"), "{said}");
    wait("thawed", || !cgroup.is_frozen());
    let panic = observastack_injector::host::panic::read(&directory.path().join("state"));
    assert!(panic.is_some_and(|panic| panic.since_unix_ms > 0));
}

#[test]
fn arguments_that_do_not_go_together_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &[][..],
        &["7", "--all"],
        &["7", "--panic"],
        &["--all", "--panic", "--if-lapsed"],
    ] {
        let status = injector(directory.path())
            .arg("revert")
            .args(arguments)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}
