//! The journal under every way to die.

use std::fs;

use super::*;
use crate::host::changes::{Fill, Fq, Freeze, Property};

/// A journal and a directory that looks like a cgroup.
struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(scene.cgroup()).unwrap();
        scene.set("0");
        scene
    }

    fn journal(&self) -> Journal {
        self.journal_in("this-boot")
    }

    fn journal_in(&self, boot: &str) -> Journal {
        Journal::open_in_boot(&self.directory.path().join("journal"), boot).unwrap()
    }

    fn cgroup(&self) -> PathBuf {
        self.directory.path().join("cgroup")
    }

    fn set(&self, frozen: &str) {
        fs::write(self.cgroup().join("cgroup.freeze"), frozen).unwrap();
    }

    fn frozen(&self) -> String {
        fs::read_to_string(self.cgroup().join("cgroup.freeze")).unwrap()
    }

    fn freeze(&self) -> Change {
        Change::Freeze(Freeze {
            unit: "shop.service".to_owned(),
            cgroups: vec![self.cgroup()],
            pulsed: false,
        })
    }

    /// A change that fails when it is applied, and is nothing to undo.
    fn impossible(&self) -> Change {
        let not_a_directory = self.directory.path().join("file");
        fs::write(&not_a_directory, "").unwrap();
        Change::Freeze(Freeze {
            unit: "other.service".to_owned(),
            cgroups: vec![not_a_directory],
            pulsed: false,
        })
    }

    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = fs::read_dir(self.directory.path().join("journal"))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".lock")
            .collect();
        files.sort();
        files
    }
}

#[test]
fn a_change_is_journalled_while_it_holds() {
    let scene = Scene::new();
    let journal = scene.journal();
    journal
        .apply(journal.entry(7, "shop.service", 5, vec![scene.freeze()]))
        .unwrap();
    assert_eq!(scene.frozen(), "1");
    let entries = scene.journal().entries().unwrap();
    assert_eq!((entries[0].id, entries[0].state), (7, State::Applied));
    assert!(matches!(
        journal.apply(journal.entry(7, "shop.service", 5, vec![])),
        Err(JournalError::Exists(7))
    ));
    journal.revert(7).unwrap();
    journal.revert(7).unwrap();
    assert_eq!(scene.frozen(), "0");
    assert!(scene.files().is_empty());
}

#[test]
fn killed_between_the_entry_and_the_change_there_is_nothing_to_undo() {
    let scene = Scene::new();
    let journal = scene.journal();
    let entry = journal.entry(7, "shop.service", 5, vec![scene.freeze()]);
    journal
        .store
        .write(&journal.lock().unwrap(), &entry)
        .unwrap();
    assert!(
        scene
            .journal()
            .revert_all()
            .iter()
            .all(|(_, result)| result.is_ok())
    );
    assert_eq!(scene.frozen(), "0");
    assert!(scene.files().is_empty());
}

#[test]
fn killed_while_it_held_the_next_one_undoes_it() {
    let scene = Scene::new();
    let journal = scene.journal();
    let entry = journal.entry(7, "shop.service", 5, vec![scene.freeze()]);
    journal
        .store
        .write(&journal.lock().unwrap(), &entry)
        .unwrap();
    scene.set("1");
    let recovered = crate::host::recover(&scene.journal(), &crate::host::timer::Unarmed);
    assert_eq!((recovered, scene.frozen().as_str()), (1, "0"));
    assert!(scene.files().is_empty());
}

#[test]
fn killed_after_the_undoing_and_before_the_entry_went_it_is_undone_again_without_harm() {
    let scene = Scene::new();
    let journal = scene.journal();
    journal
        .apply(journal.entry(7, "shop.service", 5, vec![scene.freeze()]))
        .unwrap();
    scene.set("0");
    scene.journal().revert(7).unwrap();
    assert_eq!(scene.frozen(), "0");
}

#[test]
fn killed_while_writing_an_entry_the_half_written_file_is_no_entry() {
    let scene = Scene::new();
    let journal = scene.journal();
    fs::write(
        scene.directory.path().join("journal/7.new"),
        "{\"id\": 7, \"un",
    )
    .unwrap();
    assert!(journal.is_empty().unwrap());
    journal
        .apply(journal.entry(7, "shop.service", 5, vec![scene.freeze()]))
        .unwrap();
    assert_eq!(scene.files(), ["7.json"]);
}

#[test]
fn a_corrupt_entry_is_moved_aside_and_the_others_are_undone() {
    let scene = Scene::new();
    let journal = scene.journal();
    journal
        .apply(journal.entry(7, "shop.service", 5, vec![scene.freeze()]))
        .unwrap();
    for (name, text) in [("3.json", "{"), ("4.json", ""), ("notes.json", "{}")] {
        fs::write(scene.directory.path().join("journal").join(name), text).unwrap();
    }
    // An entry that was copied to another name.
    fs::copy(
        scene.directory.path().join("journal/7.json"),
        scene.directory.path().join("journal/5.json"),
    )
    .unwrap();
    assert!(
        scene
            .journal()
            .revert_all()
            .iter()
            .all(|(_, result)| result.is_ok())
    );
    assert_eq!(scene.frozen(), "0");
    assert_eq!(
        scene.files(),
        [
            "3.json.corrupt",
            "4.json.corrupt",
            "5.json.corrupt",
            "notes.json"
        ]
    );
}

#[test]
fn of_another_boot_only_what_survives_is_undone() {
    let scene = Scene::new();
    let volume = scene.directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let fill = Fill::new(&volume, 7, 0);
    let before = scene.journal_in("before");
    let entry = before.entry(
        7,
        "shop.service",
        5,
        vec![scene.freeze(), Change::Fill(fill.clone())],
    );
    before.store.write(&before.lock().unwrap(), &entry).unwrap();
    fs::write(&fill.file, "full").unwrap();
    // Whoever froze it since then, it was not this fault.
    scene.set("1");
    scene.journal().revert(7).unwrap();
    assert_eq!(scene.frozen(), "1");
    assert!(!fill.file.exists() && scene.files().is_empty());
}

#[test]
fn a_fault_that_fails_half_way_leaves_nothing() {
    let scene = Scene::new();
    let journal = scene.journal();
    // It may be made for all that can be checked before, and is not: the name is taken by a link.
    let fill = Fill::new(scene.directory.path(), 7, 0);
    std::os::unix::fs::symlink("/nonexistent/target", &fill.file).unwrap();
    let changes = vec![scene.freeze(), Change::Fill(fill)];
    let error = journal
        .apply(journal.entry(7, "shop.service", 5, changes))
        .unwrap_err();
    assert!(matches!(error, JournalError::Change(_)), "{error}");
    assert_eq!(scene.frozen(), "0");
    assert!(scene.files().is_empty());
}

#[test]
fn what_cannot_be_undone_stays_journalled_and_is_tried_again() {
    let scene = Scene::new();
    let journal = scene.journal();
    let changes = vec![scene.freeze(), scene.impossible()];
    journal
        .apply(journal.entry(7, "shop.service", 5, changes))
        .unwrap_err();
    assert_eq!(scene.frozen(), "0");
    assert_eq!(scene.files(), ["7.json"]);
    assert!(matches!(journal.revert(7), Err(JournalError::Stuck { .. })));
    fs::remove_file(scene.directory.path().join("file")).unwrap();
    journal.revert(7).unwrap();
    assert!(scene.files().is_empty());
}

#[test]
fn a_fault_that_is_refused_is_never_journalled() {
    let scene = Scene::new();
    let journal = scene.journal();
    let changes = vec![
        scene.freeze(),
        Change::Fill(Fill::new(Path::new("/nonexistent"), 7, 0)),
    ];
    let error = journal
        .apply(journal.entry(7, "shop.service", 5, changes))
        .unwrap_err();
    assert!(error.to_string().contains("/nonexistent"), "{error}");
    assert_eq!(scene.frozen(), "0");
    assert!(scene.files().is_empty());
}

#[test]
fn what_two_faults_share_goes_with_the_last() {
    let scene = Scene::new();
    let journal = scene.journal();
    for id in [1, 2] {
        journal
            .apply(journal.entry(id, "shop.service", 5, vec![scene.freeze()]))
            .unwrap();
    }
    journal.revert(1).unwrap();
    assert_eq!(scene.frozen(), "1");
    journal.revert(2).unwrap();
    assert_eq!(scene.frozen(), "0");
}

#[test]
fn what_cannot_be_shared_names_the_fault_that_has_it() {
    let scene = Scene::new();
    let journal = scene.journal();
    let held = Change::Property(Property::new("shop.service", "CPUQuota", "20%"));
    let entry = journal.entry(3, "shop.service", 5, vec![held.clone()]);
    journal
        .store
        .write(&journal.lock().unwrap(), &entry)
        .unwrap();
    let error = journal
        .apply(journal.entry(4, "shop.service", 5, vec![held]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("fault 3") && error.contains("CPUQuota of shop.service"),
        "{error}"
    );
    let fq = |dev: &str| {
        Change::Fq(Fq {
            dev: dev.to_owned(),
        })
    };
    assert_eq!(fq("lo").relation(&fq("lo")), Relation::Shared);
    assert_eq!(fq("lo").relation(&fq("eth0")), Relation::Apart);
}

#[test]
fn a_restarted_unit_is_frozen_again_until_somebody_reverts_it() {
    let scene = Scene::new();
    let journal = scene.journal();
    journal
        .apply(journal.entry(7, "shop.service", 5, vec![scene.freeze()]))
        .unwrap();
    scene.set("0");
    assert!(journal.follow(7).unwrap());
    assert_eq!(scene.frozen(), "1");
    scene.journal().revert(7).unwrap();
    assert!(!journal.follow(7).unwrap());
    assert_eq!(scene.frozen(), "0");
    assert_eq!(journal.while_held(7, || scene.set("1")).unwrap(), None);
    assert_eq!(scene.frozen(), "0");
}

#[test]
fn a_writer_that_hangs_with_the_lock_does_not_hang_others() {
    let scene = Scene::new();
    let journal = scene.journal();
    let _held = journal.lock().unwrap();
    let impatient = scene.journal().with_patience(Duration::from_millis(30));
    let error = impatient.revert(7).unwrap_err();
    assert!(matches!(error, JournalError::Busy { .. }), "{error}");
}

#[test]
fn an_entry_reads_as_people_expect() {
    let scene = Scene::new();
    let journal = scene.journal();
    journal
        .apply(journal.entry(7, "shop.service", 5, vec![scene.freeze()]))
        .unwrap();
    let text = fs::read_to_string(scene.directory.path().join("journal/7.json")).unwrap();
    assert!(
        text.contains("\"change\": \"freeze\"") && text.contains("\"state\": \"applied\""),
        "{text}"
    );
}
