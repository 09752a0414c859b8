//! A full disk: the change is refused with 507, the configuration stays, and changes go on when there is space again.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

use super::parent::Parent;
use super::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let may_mount = SmallDisk::mount(tempfile::tempdir().unwrap().path()).is_some();
    vec![
        trial(
            "a_full_file_system_refuses_changes_until_there_is_space",
            full_file_system,
        )
        .with_ignored_flag(!may_mount),
        trial("a_file_size_limit_refuses_changes", file_size_limit),
    ]
}

/// A file system of 64 KiB, unmounted at the end. Needs root.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: &std::path::Path) -> Option<Self> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", path, "tmpfs", flags, c"size=65536").ok()?;
        Some(Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

async fn full_file_system() {
    let parent = Parent::new();
    let state = parent.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let _disk = SmallDisk::mount(&state).expect("was possible just now");
    let service = parent.start();
    assert_eq!(parent.patch(&json!({"counter": 1})).await.status, 200);
    let before = (
        parent.config().await,
        std::fs::read(state.join("config.json")).unwrap(),
    );

    let filler = state.join("filler");
    let written = std::fs::write(&filler, vec![1; 128 * 1024]);
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let answer = parent
        .patch(&json!({"counter": 2, "padding": "x".repeat(20_000)}))
        .await;
    assert_eq!(answer.status, 507, "{answer:?}");
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.contains("no space left to write") && error.contains("config.json"),
        "{error}"
    );
    let now = (
        parent.config().await,
        std::fs::read(state.join("config.json")).unwrap(),
    );
    assert_eq!(now, before, "nothing is half-applied");
    assert!(
        !state.join("config.json.tmp").exists(),
        "and the space of the attempt is given back"
    );

    std::fs::remove_file(&filler).unwrap();
    assert_eq!(parent.patch(&json!({"counter": 3})).await.status, 200);
    service.kill();
    let _service = parent.start();
    assert_eq!(parent.config().await["config"]["counter"], 3);
}

async fn file_size_limit() {
    let parent = Parent::new();
    // The shell passes on both the limit and that its signal is ignored, so that writes fail with EFBIG.
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 8; exec \"$0\"")
        .arg(std::env::current_exe().unwrap());
    parent.prepare(&mut shell);
    let _service = parent.start_with(&mut shell);
    assert_eq!(parent.patch(&json!({"counter": 1})).await.status, 200);
    let before = parent.config().await;
    let answer = parent
        .patch(&json!({"counter": 2, "padding": "x".repeat(20_000)}))
        .await;
    assert_eq!(answer.status, 507, "{answer:?}");
    assert_eq!(parent.config().await, before);
    let file = parent.path().join("state/config.json");
    assert!(std::fs::metadata(file).unwrap().size() < 200);
}
