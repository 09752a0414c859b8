//! What keeps a service from starting: exit code 1 and a message that helps.

use std::process::Command;

use libtest_mimic::Trial;

use super::parent::Parent;
use super::{LISTEN, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "a_corrupt_state_file_is_named_with_place_and_repair",
            corrupt_state,
        ),
        trial("a_taken_port_is_named", taken_port),
        trial(
            "a_second_process_on_the_same_state_is_refused",
            second_process,
        ),
        trial("a_malformed_log_filter_is_named", log_filter),
    ]
}

fn refuses(parent: &Parent, command: &mut Command, expected: &[&str]) {
    let (code, stderr) = parent.fails(command);
    assert_eq!(code, Some(1), "{stderr}");
    for expected in expected {
        assert!(stderr.contains(expected), "{expected:?} is not in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

async fn corrupt_state() {
    let parent = Parent::new();
    std::fs::create_dir(parent.path().join("state")).unwrap();
    let file = parent.path().join("state/config.json");
    std::fs::write(&file, "{\"version\": 2,\n\"config\": {\"counter\": 1,}}").unwrap();
    let expected = [
        "state/config.json is corrupt at line 2 column 25",
        "observastack-ctl config reset",
        "--offline",
    ];
    refuses(&parent, &mut parent.command(), &expected);

    std::fs::write(&file, r#"{"version": 2, "config": {"counter": 1000001}}"#).unwrap();
    refuses(
        &parent,
        &mut parent.command(),
        &["config.counter: 1000001 is not allowed, allowed: 0 to 1000000"],
    );

    std::fs::remove_file(&file).unwrap();
    let _service = parent.start();
}

async fn taken_port() {
    let parent = Parent::new();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let expected = format!("{address} is already in use");
    refuses(
        &parent,
        parent.command().env(LISTEN, &address),
        &[&expected],
    );
    assert!(!parent.path().join("admin.sock").exists());
}

async fn second_process() {
    let parent = Parent::new();
    let _first = parent.start();
    let state = parent.path().join("state").display().to_string();
    refuses(
        &parent,
        &mut parent.command(),
        &[&state, "in use by another process"],
    );
    assert_eq!(
        parent.config().await["version"],
        1,
        "the first one is not disturbed"
    );
}

async fn log_filter() {
    let parent = Parent::new();
    let mut command = parent.command();
    refuses(
        &parent,
        command.env("OBSERVASTACK_LOG", "kit=loud"),
        &["OBSERVASTACK_LOG=\"kit=loud\"", "error, warn, info"],
    );
}
