//! What is left when a write is cut off or fails at any step: the old configuration, whole.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::json;

use super::*;
use crate::config::file::{Disk, FileSystem};
use crate::config::{Change, IfMatch};

const NONE: u8 = 0;
const FULL: u8 = 1;
const TORN: u8 = 2;
const RENAME: u8 = 3;
const SYNC_DIRECTORY: u8 = 4;

/// A disk that fails at the step it is told to.
#[derive(Clone, Default)]
struct FaultyDisk(Arc<AtomicU8>);

impl FaultyDisk {
    fn fail(&self, step: u8) {
        self.0.store(step, Ordering::SeqCst);
    }

    fn fails(&self, step: u8) -> bool {
        self.0.load(Ordering::SeqCst) == step
    }
}

impl Disk for FaultyDisk {
    fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        if self.fails(FULL) {
            // The kernel's own "no space left", from the one device that is always full.
            return OpenOptions::new()
                .write(true)
                .open("/dev/full")?
                .write_all(content);
        }
        if self.fails(TORN) {
            FileSystem.write_new(path, &content[..content.len() / 2])?;
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::IO.raw_os_error(),
            ));
        }
        FileSystem.write_new(path, content)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.fails(RENAME) {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::ROFS.raw_os_error(),
            ));
        }
        FileSystem.rename(from, to)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if self.fails(SYNC_DIRECTORY) {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::IO.raw_os_error(),
            ));
        }
        FileSystem.sync_directory(path)
    }
}

#[test]
fn a_write_that_fails_at_any_step_changes_neither_memory_nor_disk_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store =
        ConfigStore::<Config>::open_on(directory.path(), None, Box::new(disk.clone())).unwrap();
    let patch =
        |label: &str| store.change_blocking(Change::Patch(json!({"label": label})), &IfMatch::Any);
    let good = patch("good").unwrap();
    let file = on_disk(directory.path());
    let changes = store.subscribe();
    for step in [FULL, TORN, RENAME] {
        disk.fail(step);
        let error = patch("bad").unwrap_err();
        assert_eq!(
            matches!(error, ConfigError::DiskFull { .. }),
            step == FULL,
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("the configuration stays as it was"),
            "{error}"
        );
        assert!(
            store.change_blocking(Change::Reset, &IfMatch::Any).is_err(),
            "a reset needs the disk, too"
        );
        assert_eq!(*store.current(), *good);
        assert_eq!(on_disk(directory.path()), file);
        assert!(!changes.has_changed().unwrap(), "no subscriber hears of it");
        let names: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [STATE_FILE]);
    }
    disk.fail(NONE);
    assert_eq!(
        patch("better").unwrap().version,
        3,
        "and the disk may recover"
    );
}

#[test]
fn a_directory_that_cannot_be_synced_leaves_memory_and_file_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store =
        ConfigStore::<Config>::open_on(directory.path(), None, Box::new(disk.clone())).unwrap();
    disk.fail(SYNC_DIRECTORY);
    let now = store
        .change_blocking(Change::Patch(json!({"label": "x"})), &IfMatch::Any)
        .unwrap();
    assert_eq!(
        on_disk(directory.path()).unwrap(),
        json!({"version": 2, "config": &now.config})
    );
}

#[test]
fn what_a_crash_before_the_rename_left_is_cleaned_up_and_the_old_configuration_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let before = store
        .change_blocking(Change::Patch(json!({"label": "old"})), &IfMatch::Any)
        .unwrap();
    drop(store);
    let temporary = directory.path().join(format!("{STATE_FILE}.tmp"));
    for leftover in [
        "",
        "{\"version\": 3, \"conf",
        "{\"version\": 3, \"config\": {\"label\": \"new\"}}",
    ] {
        std::fs::write(&temporary, leftover).unwrap();
        let store = open(directory.path()).unwrap();
        assert_eq!(*store.current(), *before);
        assert!(
            !temporary.exists(),
            "the leftover {leftover:?} is still there"
        );
    }
}
