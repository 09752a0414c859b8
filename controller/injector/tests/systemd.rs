//! Changes that systemd makes. Needs systemd as pid 1, and root: the end-to-end lane runs it inside its machine.
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail anywhere; clippy sees only functions marked as tests"
)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use observastack_injector::host::{
    Property, UnitStopped,
    actors::{Actor, ActorCounts, Blow, Choice, Pace, UnitKill, Work},
    change::Change,
    hands::{self, Hands, Options},
    journal::Journal,
    timer::Systemd,
};
use observastack_loader::clock::monotonic_ns;
use support::{INJECTOR, wait};

fn systemctl(arguments: &[&str]) -> String {
    let output = Command::new("systemctl").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn show(unit: &str, property: &str) -> String {
    systemctl(&["show", "--value", &format!("--property={property}"), unit])
}

/// A unit of the test's own, and hands whose timers are systemd's.
struct Scene {
    unit: String,
    directory: tempfile::TempDir,
    hands: Hands,
}

impl Scene {
    fn new(name: &str) -> Self {
        let unit = format!("obs-host-test-{name}.service");
        let text = "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=0\n";
        fs::write(format!("/run/systemd/system/{unit}"), text).unwrap();
        systemctl(&["daemon-reload"]);
        systemctl(&["start", &unit]);
        let directory = tempfile::tempdir().unwrap();
        // A test that was copied to a machine finds the installed program there.
        let built = PathBuf::from(INJECTOR);
        let installed = PathBuf::from("/usr/lib/observastack/bin/observastack-injector");
        let (hands, _thread) = hands::spawn(Options {
            journal: Journal::open(&directory.path().join("journal")).unwrap(),
            lease: directory.path().join("lease"),
            guard: None,
            armer: Box::new(Systemd {
                binary: if built.exists() { built } else { installed },
                state_dir: directory.path().to_owned(),
            }),
        })
        .unwrap();
        let scene = Self {
            unit,
            directory,
            hands,
        };
        wait("the unit runs", || scene.is("active"));
        scene
    }

    fn apply(&self, id: u64, for_ms: u64, change: Change) {
        let end_ns = monotonic_ns() + for_ms * 1_000_000;
        self.hands
            .apply(id, &self.unit, end_ns, vec![change], None)
            .wait()
            .unwrap();
    }

    fn quota(&self, value: &str) -> Change {
        Change::Property(Property::new(&self.unit, "CPUQuota", value))
    }

    fn dropin(&self) -> PathBuf {
        format!(
            "/run/systemd/system.control/{}.d/50-CPUQuota.conf",
            self.unit
        )
        .into()
    }

    fn is(&self, state: &str) -> bool {
        show(&self.unit, "ActiveState") == state
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        systemctl(&["stop", &self.unit]);
        let _ = fs::remove_file(format!("/run/systemd/system/{}", self.unit));
        let _ = fs::remove_dir_all(format!("/run/systemd/system.control/{}.d", self.unit));
        systemctl(&["daemon-reload"]);
    }
}

fn timer(id: u64) -> String {
    show(&format!("observastack-revert-{id}.timer"), "ActiveState")
}

#[test]
fn a_property_is_set_timed_and_given_back_without_a_trace() {
    let scene = Scene::new("plain");
    scene.apply(900_001, 60_000, scene.quota("20%"));
    assert_eq!(show(&scene.unit, "CPUQuotaPerSecUSec"), "200ms");
    assert!(scene.dropin().exists());
    assert_eq!(timer(900_001), "active");
    scene.hands.revert(900_001).wait().unwrap();
    assert_eq!(show(&scene.unit, "CPUQuotaPerSecUSec"), "infinity");
    assert!(!scene.dropin().parent().unwrap().exists());
    assert_eq!(timer(900_001), "inactive");
    for (name, value) in [
        ("TasksMax", "7"),
        ("MemoryMax", "33554432"),
        ("MemorySwapMax", "0"),
    ] {
        let before = show(&scene.unit, name);
        scene.apply(
            900_002,
            60_000,
            Change::Property(Property::new(&scene.unit, name, value)),
        );
        assert_eq!(show(&scene.unit, name), value);
        scene.hands.revert(900_002).wait().unwrap();
        assert_eq!(show(&scene.unit, name), before, "{name}");
    }
}

#[test]
fn a_property_that_the_administrator_had_set_is_the_administrators_again() {
    let scene = Scene::new("theirs");
    systemctl(&["set-property", "--runtime", &scene.unit, "CPUQuota=133.33%"]);
    let before = fs::read_to_string(scene.dropin()).unwrap();
    let value = show(&scene.unit, "CPUQuotaPerSecUSec");
    scene.apply(900_003, 60_000, scene.quota("20%"));
    assert_eq!(show(&scene.unit, "CPUQuotaPerSecUSec"), "200ms");
    scene.hands.revert(900_003).wait().unwrap();
    assert_eq!(show(&scene.unit, "CPUQuotaPerSecUSec"), value);
    assert_eq!(fs::read_to_string(scene.dropin()).unwrap(), before);
}

#[test]
fn the_timer_reverts_when_nobody_else_does() {
    let scene = Scene::new("timer");
    scene.apply(900_004, 500, scene.quota("20%"));
    let journal = Journal::open(&scene.directory.path().join("journal")).unwrap();
    let took = wait("the timer", || journal.is_empty().unwrap());
    assert!(
        took > Duration::from_millis(1000) && took < Duration::from_secs(4),
        "{took:?}"
    );
    assert_eq!(show(&scene.unit, "CPUQuotaPerSecUSec"), "infinity");
}

#[test]
fn a_stopped_unit_is_started_again_and_a_killed_one_is_counted() {
    let scene = Scene::new("stopped");
    let stopped = UnitStopped {
        unit: scene.unit.clone(),
    };
    scene.apply(900_005, 60_000, Change::UnitStopped(stopped.clone()));
    wait("stopped", || scene.is("inactive"));
    scene.hands.revert(900_005).wait().unwrap();
    wait("started", || scene.is("active"));

    let counts = Arc::new(ActorCounts::default());
    let before = show(&scene.unit, "MainPID");
    let actor = Actor::UnitKill(UnitKill {
        unit: scene.unit.clone(),
        blow: Blow::Signal("SIGKILL".to_owned()),
        pace: Pace::Once,
        choice: Choice {
            seed: 1,
            probability: 1.0,
        },
    });
    let actor = Some(Work {
        actor,
        counts: Arc::clone(&counts),
        is_covert: false,
    });
    let end_ns = monotonic_ns() + 60_000_000_000;
    scene
        .hands
        .apply(900_006, &scene.unit, end_ns, vec![], actor)
        .wait()
        .unwrap();
    wait("killed and restarted", || {
        let pid = show(&scene.unit, "MainPID");
        pid != "0" && pid != before && counts.injected.load(Ordering::Relaxed) == 1
    });
}

#[test]
fn a_unit_that_does_not_run_cannot_be_stopped() {
    let scene = Scene::new("idle");
    systemctl(&["stop", &scene.unit]);
    let stopped = Change::UnitStopped(UnitStopped {
        unit: scene.unit.clone(),
    });
    let end_ns = monotonic_ns() + 60_000_000_000;
    let error = scene
        .hands
        .apply(900_007, &scene.unit, end_ns, vec![stopped], None)
        .wait()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("inactive") && error.contains(&scene.unit),
        "{error}"
    );
}
