//! The hands with fake cgroups and a timer that only remembers.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use observastack_loader::clock::monotonic_ns;

use super::*;
use crate::host::{
    actors::{Actor, ActorCounts, FreezePulses},
    changes::{Fill, Freeze},
    guard::Guard,
    lease,
};

/// Remembers what was armed and disarmed.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Vec<String>>>);

impl Armer for Memory {
    fn arm(&self, id: u64, _after: Duration) -> Result<(), CommandError> {
        self.0.lock().unwrap().push(format!("arm {id}"));
        Ok(())
    }

    fn disarm(&self, id: u64) {
        self.0.lock().unwrap().push(format!("disarm {id}"));
    }
}

struct Scene {
    directory: tempfile::TempDir,
    memory: Memory,
    hands: Option<Hands>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Scene {
    fn new(guarded: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        let cgroup = directory.path().join("cgroup");
        fs::create_dir(&cgroup).unwrap();
        fs::write(cgroup.join("cgroup.freeze"), "0").unwrap();
        let (hands, thread) = spawn(Options {
            journal: Journal::open(&directory.path().join("journal")).unwrap(),
            lease: directory.path().join("lease"),
            guard: guarded.then(|| directory.path().join("guard")),
            armer: Box::new(memory.clone()),
        })
        .unwrap();
        Self {
            directory,
            memory,
            hands: Some(hands),
            thread: Some(thread),
        }
    }

    fn hands(&self) -> &Hands {
        self.hands.as_ref().unwrap()
    }

    fn freeze(&self, pulsed: bool) -> Change {
        Change::Freeze(Freeze {
            unit: "shop.service".to_owned(),
            cgroups: vec![self.directory.path().join("cgroup")],
            pulsed,
        })
    }

    fn frozen(&self) -> String {
        fs::read_to_string(self.directory.path().join("cgroup/cgroup.freeze")).unwrap()
    }

    fn remembered(&self) -> Vec<String> {
        self.memory.0.lock().unwrap().clone()
    }

    fn lapsed(&self) -> bool {
        lease::is_lapsed(&self.directory.path().join("lease"))
    }

    fn journal(&self) -> Journal {
        Journal::open(&self.directory.path().join("journal")).unwrap()
    }

    fn end(&mut self) {
        self.hands = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

fn in_a_minute() -> u64 {
    monotonic_ns() + 60_000_000_000
}

#[test]
fn a_fault_is_timed_leased_journalled_and_given_back() {
    let scene = Scene::new(false);
    scene
        .hands()
        .apply(
            7,
            "shop.service",
            in_a_minute(),
            vec![scene.freeze(false)],
            None,
        )
        .wait()
        .unwrap();
    assert_eq!(scene.frozen(), "1");
    assert_eq!(scene.remembered(), ["arm 7"]);
    thread::sleep(Duration::from_millis(900));
    assert!(!scene.lapsed(), "nobody renews the lease");
    let again = scene
        .hands()
        .apply(7, "shop.service", in_a_minute(), vec![], None)
        .wait();
    assert!(
        matches!(again, Err(HandsError::Journal(JournalError::Exists(7)))),
        "{again:?}"
    );
    scene.hands().revert(7).wait().unwrap();
    scene.hands().revert(7).wait().unwrap();
    assert_eq!(scene.frozen(), "0");
    assert_eq!(scene.remembered(), ["arm 7", "disarm 7"]);
}

#[test]
fn without_a_guard_a_journalled_fault_is_refused_and_with_one_it_is_not() {
    let scene = Scene::new(true);
    let refused = scene
        .hands()
        .apply(
            7,
            "shop.service",
            in_a_minute(),
            vec![scene.freeze(false)],
            None,
        )
        .wait();
    assert!(matches!(refused, Err(HandsError::NoGuard)), "{refused:?}");
    assert_eq!(scene.frozen(), "0");
    assert!(scene.remembered().is_empty());
    let _guard = Guard::claim(crate::host::guard::Options {
        journal: scene.directory.path().join("journal"),
        lease: scene.directory.path().join("lease"),
        directory: scene.directory.path().join("guard"),
        injector_lock: None,
        armer: Box::new(crate::host::timer::Unarmed),
    })
    .unwrap();
    scene
        .hands()
        .apply(
            7,
            "shop.service",
            in_a_minute(),
            vec![scene.freeze(false)],
            None,
        )
        .wait()
        .unwrap();
    assert_eq!(scene.frozen(), "1");
}

#[test]
fn a_fault_that_is_refused_is_disarmed() {
    let scene = Scene::new(false);
    let fill = Change::Fill(Fill::new(Path::new("/nonexistent"), 7, 0));
    scene
        .hands()
        .apply(7, "shop.service", in_a_minute(), vec![fill], None)
        .wait()
        .unwrap_err();
    assert_eq!(scene.remembered(), ["arm 7", "disarm 7"]);
}

#[test]
fn an_actor_works_while_its_fault_holds() {
    let scene = Scene::new(false);
    let counts = Arc::new(ActorCounts::default());
    let actor = Actor::FreezePulses(FreezePulses {
        unit: "shop.service".to_owned(),
        cgroups: vec![scene.directory.path().join("cgroup")],
        period: Duration::from_millis(40),
        frozen: Duration::from_millis(20),
    });
    let actor = Some(Work {
        actor,
        counts: Arc::clone(&counts),
        is_covert: false,
    });
    scene
        .hands()
        .apply(
            7,
            "shop.service",
            in_a_minute(),
            vec![scene.freeze(true)],
            actor,
        )
        .wait()
        .unwrap();
    thread::sleep(Duration::from_millis(600));
    scene.hands().revert(7).wait().unwrap();
    let pulses = counts.injected.load(Ordering::Relaxed);
    assert!(pulses >= 5, "{pulses}");
    assert_eq!(scene.frozen(), "0");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(counts.injected.load(Ordering::Relaxed), pulses);
}

#[test]
fn what_somebody_else_has_reverted_is_told_and_not_made_again() {
    let scene = Scene::new(false);
    scene
        .hands()
        .apply(
            7,
            "shop.service",
            in_a_minute(),
            vec![scene.freeze(false)],
            None,
        )
        .wait()
        .unwrap();
    scene.journal().revert(7).unwrap();
    thread::sleep(Duration::from_millis(600));
    assert_eq!(scene.hands().lost().wait().unwrap(), [7]);
    assert!(scene.hands().lost().wait().unwrap().is_empty());
    assert_eq!(scene.frozen(), "0");
}

#[test]
fn a_unit_that_was_restarted_is_frozen_again() {
    let scene = Scene::new(false);
    scene
        .hands()
        .apply(
            7,
            "shop.service",
            in_a_minute(),
            vec![scene.freeze(false)],
            None,
        )
        .wait()
        .unwrap();
    fs::write(scene.directory.path().join("cgroup/cgroup.freeze"), "0").unwrap();
    thread::sleep(Duration::from_millis(600));
    assert_eq!(scene.frozen(), "1");
}

#[tokio::test]
async fn a_task_can_await_the_answer() {
    let scene = Scene::new(false);
    scene
        .hands()
        .apply(
            7,
            "shop.service",
            in_a_minute(),
            vec![scene.freeze(false)],
            None,
        )
        .await
        .unwrap();
    scene.hands().revert_all().await.unwrap();
    assert_eq!(scene.frozen(), "0");
    assert!(scene.journal().is_empty().unwrap());
}

#[test]
fn the_last_handle_takes_every_fault_with_it() {
    let mut scene = Scene::new(false);
    let mut pending = scene.hands().apply(
        7,
        "shop.service",
        in_a_minute(),
        vec![scene.freeze(false)],
        None,
    );
    let answer = loop {
        if let Some(answer) = pending.poll() {
            break answer;
        }
        thread::sleep(Duration::from_millis(1));
    };
    answer.unwrap();
    scene.end();
    assert_eq!(scene.frozen(), "0");
    assert!(scene.journal().is_empty().unwrap());
    assert_eq!(scene.remembered(), ["arm 7", "disarm 7"]);
}
