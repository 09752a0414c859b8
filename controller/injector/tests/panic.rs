//! A real injector (without programs: the kernel side has tests of its own), alive, frozen and started anew.
#![allow(
    clippy::unwrap_used,
    reason = "a test may fail anywhere; clippy sees only functions marked as tests"
)]

mod support;

use std::{
    fs::{self, OpenOptions},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use observastack_injector::host::{Freeze, change::Change, guard, journal::Journal, panic};
use rustix::{fs::FlockOperation, process::Signal};
use support::{Cgroup, Killed, injector, is_root, wait};

/// An injector on a socket of its own.
fn serve(directory: &Path, cgroup: &Cgroup) -> Killed {
    let child = injector(directory)
        .arg("--config=/nonexistent/injector.json")
        .args(["--object=/nonexistent/observastack.bpf.o", "--metrics=none"])
        .arg("--cgroup-root")
        .arg(cgroup.path.parent().unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait("an injector", || directory.join("injector.sock").exists());
    Killed(child)
}

/// A frozen cgroup in the journal.
fn freeze(directory: &Path, cgroup: &Cgroup) -> Journal {
    let journal = Journal::open(&directory.join("state/journal")).unwrap();
    let freeze = Change::Freeze(Freeze {
        unit: "shop.service".to_owned(),
        cgroups: vec![cgroup.path.clone()],
        pulsed: false,
    });
    let entry = journal.entry(7, "shop.service", u64::MAX, vec![freeze]);
    journal.apply(entry).unwrap();
    wait("frozen", || cgroup.is_frozen());
    journal
}

fn panic_now(directory: &Path) -> String {
    let output = injector(directory)
        .args(["revert", "--all", "--panic"])
        .env("SUDO_UID", "1234")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn an_injector_that_starts_gives_back_what_the_last_one_left_before_it_listens() {
    if !is_root() {
        return;
    }
    let cgroup = Cgroup::new("recover");
    let directory = tempfile::tempdir().unwrap();
    let journal = freeze(directory.path(), &cgroup);
    let _injector = serve(directory.path(), &cgroup);
    assert!(journal.is_empty().unwrap());
    wait("thawed", || !cgroup.is_frozen());
}

#[test]
fn an_injector_that_answers_clears_and_lives_and_one_that_is_frozen_is_killed() {
    if !is_root() {
        return;
    }
    let cgroup = Cgroup::new("panics");
    let directory = tempfile::tempdir().unwrap();
    let mut injector = serve(directory.path(), &cgroup);
    freeze(directory.path(), &cgroup);
    let said = panic_now(directory.path());
    assert!(said.contains("has cleared every fault"), "{said}");
    wait("thawed", || !cgroup.is_frozen());
    assert!(injector.0.try_wait().unwrap().is_none());
    let declared = panic::read(&directory.path().join("state")).unwrap();
    assert_eq!(declared.by_uid, 1234);

    freeze(directory.path(), &cgroup);
    injector.signal(Signal::STOP);
    let said = panic_now(directory.path());
    assert!(
        said.contains("hangs") && said.contains(&injector.0.id().to_string()),
        "{said}"
    );
    wait("thawed", || !cgroup.is_frozen());
    assert_eq!(injector.0.wait().unwrap().signal(), Some(9));
    // Since when does not change by a second panic.
    assert_eq!(panic::read(&directory.path().join("state")), Some(declared));
}

#[test]
fn an_injector_that_froze_with_the_journal_locked_is_killed_by_the_guard() {
    if !is_root() {
        return;
    }
    let cgroup = Cgroup::new("locked");
    let directory = tempfile::tempdir().unwrap();
    let mut frozen = serve(directory.path(), &cgroup);
    let journal = freeze(directory.path(), &cgroup);
    let lock = OpenOptions::new()
        .write(true)
        .open(directory.path().join("state/journal/.lock"))
        .unwrap();
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    frozen.signal(Signal::STOP);
    let _guard = Killed(
        injector(directory.path())
            .arg("guard")
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait("a guard", || {
        guard::is_running(&directory.path().join("guard"))
    });
    let took = wait("the kill", || frozen.0.try_wait().unwrap().is_some());
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(frozen.0.wait().unwrap().signal(), Some(9));
    // The lock was the test's own: now it goes the way it would have gone with the injector.
    drop(lock);
    wait("reverted", || {
        journal.is_empty().unwrap() && !cgroup.is_frozen()
    });
    thread::sleep(Duration::from_millis(50));
    assert!(fs::metadata(directory.path().join("state/journal/7.json")).is_err());
}
