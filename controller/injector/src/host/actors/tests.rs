//! Actors with fake cgroups; what needs the kernel is in `tests/` of the crate.

use std::{fs, net::IpAddr};

use super::*;
use crate::host::{change::Change, changes::Freeze};

fn journal(directory: &tempfile::TempDir) -> Journal {
    Journal::open(&directory.path().join("journal")).unwrap()
}

fn end_ns(after: Duration) -> u64 {
    monotonic_ns() + u64::try_from(after.as_nanos()).unwrap()
}

/// A journalled, pulsed freeze of a directory that looks like a cgroup.
fn pulses(directory: &tempfile::TempDir) -> (Journal, Actor, PathBuf) {
    let cgroup = directory.path().join("cgroup");
    fs::create_dir(&cgroup).unwrap();
    let file = cgroup.join("cgroup.freeze");
    fs::write(&file, "0").unwrap();
    let journal = journal(directory);
    let freeze = Freeze {
        unit: "shop.service".to_owned(),
        cgroups: vec![cgroup.clone()],
        pulsed: true,
    };
    journal
        .apply(journal.entry(7, "shop.service", u64::MAX, vec![Change::Freeze(freeze)]))
        .unwrap();
    let actor = Actor::FreezePulses(FreezePulses {
        unit: "shop.service".to_owned(),
        cgroups: vec![cgroup],
        period: Duration::from_millis(100),
        frozen: Duration::from_millis(50),
    });
    (journal, actor, file)
}

fn work(actor: Actor, counts: &Arc<ActorCounts>) -> Work {
    Work {
        actor,
        counts: Arc::clone(counts),
        is_covert: false,
    }
}

#[test]
fn pulses_freeze_half_of_the_time_and_thaw_when_told_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, actor, file) = pulses(&directory);
    let counts = Arc::new(ActorCounts::default());
    let working = Working::begin(7, u64::MAX, work(actor, &counts), journal).unwrap();
    let mut frozen = 0;
    for _ in 0..200 {
        frozen += usize::from(fs::read_to_string(&file).unwrap() == "1");
        thread::sleep(Duration::from_millis(5));
    }
    drop(working);
    assert_eq!(fs::read_to_string(&file).unwrap(), "0");
    assert!((60..140).contains(&frozen), "{frozen} of 200 looks");
    let pulses = counts.injected.load(Ordering::Relaxed);
    assert!((7..=13).contains(&pulses), "{pulses}");
}

#[test]
fn pulses_end_at_the_end_and_when_somebody_has_reverted_the_fault() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, actor, file) = pulses(&directory);
    let counts = Arc::new(ActorCounts::default());
    let working = Working::begin(
        7,
        end_ns(Duration::from_millis(30)),
        work(actor.clone(), &counts),
        journal.clone(),
    )
    .unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(working.has_ended());
    assert_eq!(fs::read_to_string(&file).unwrap(), "0");

    let working = Working::begin(7, u64::MAX, work(actor, &counts), journal.clone()).unwrap();
    thread::sleep(Duration::from_millis(30));
    journal.revert(7).unwrap();
    fs::write(&file, "0").unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(working.has_ended());
    assert_eq!(fs::read_to_string(&file).unwrap(), "0");
}

#[test]
fn an_actor_that_was_not_let_run_for_a_while_does_not_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run {
        id: 7,
        end_ns: u64::MAX,
        is_covert: false,
        counts: Arc::default(),
        stop: Arc::default(),
        journal: journal(&directory),
    };
    assert!(run.pause(Duration::from_millis(120)));
    // Like a SIGSTOP: the step takes far longer than it was to.
    let stop = Arc::clone(&run.stop);
    let goes_on = thread::scope(|scope| {
        let waiting = scope.spawn(|| run.pause(Duration::from_secs(30)));
        thread::sleep(Duration::from_millis(20));
        let held = stop.stopped.lock().unwrap();
        thread::sleep(Duration::from_nanos(lease::LAPSE_NS) + Duration::from_millis(200));
        drop(held);
        waiting.join().unwrap()
    });
    assert!(!goes_on);
    assert!(!run.is_stopped());
}

#[test]
fn a_share_is_chosen_by_the_seed() {
    let half = Choice {
        seed: 9,
        probability: 0.5,
    };
    let taken: Vec<u64> = (0..1000).filter(|n| half.takes(*n)).collect();
    assert!((430..570).contains(&taken.len()), "{}", taken.len());
    assert_eq!(
        taken,
        (0..1000).filter(|n| half.takes(*n)).collect::<Vec<_>>()
    );
    let other = Choice {
        seed: 10,
        probability: 0.5,
    };
    assert_ne!(
        taken,
        (0..1000).filter(|n| other.takes(*n)).collect::<Vec<_>>()
    );
}

#[test]
fn a_network_holds_its_addresses_and_no_others() {
    let network = |address: &str, prefix| Network {
        address: address.parse().unwrap(),
        prefix,
    };
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(network("10.1.0.0", 16).contains(ip("10.1.255.3")));
    assert!(!network("10.1.0.0", 16).contains(ip("10.2.0.1")));
    assert!(network("0.0.0.0", 0).contains(ip("192.0.2.1")));
    assert!(!network("0.0.0.0", 0).contains(ip("::1")));
    assert!(network("192.0.2.1", 32).contains(ip("192.0.2.1")));
    assert!(!network("192.0.2.1", 32).contains(ip("192.0.2.2")));
    assert!(network("2001:db8::", 32).contains(ip("2001:db8:1::5")));
    assert!(network("::", 0).contains(ip("2001:db8::1")));
    assert!(!network("2001:db8::1", 128).contains(ip("2001:db8::2")));
}

#[test]
fn cgroups_below_a_units_own_belong_to_it() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("a/b")).unwrap();
    let found = with_descendants(&[
        directory.path().to_owned(),
        directory.path().join("a"),
        "/nonexistent".into(),
    ]);
    assert_eq!(found.len(), 3);
}
