//! Ending a process with everything that it started.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Ends a process and everything below it: asks first, forces three seconds later.
pub(crate) fn kill_tree(pid: u32, as_root: bool) {
    let pids: Vec<String> = descendants(pid).iter().map(u32::to_string).collect();
    for (signal, wait) in [("-TERM", Duration::from_secs(3)), ("-KILL", Duration::ZERO)] {
        let mut kill = if as_root {
            Command::new("sudo")
        } else {
            Command::new("kill")
        };
        if as_root {
            kill.arg("kill");
        }
        kill.arg(signal)
            .args(&pids)
            .stderr(Stdio::null())
            .status()
            .ok();
        let until = Instant::now() + wait;
        while Instant::now() < until && pids.iter().any(|pid| is_running(pid)) {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether the process is there and not only waiting to be collected.
fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim_start().starts_with('Z'))
    })
}

/// The process and all its descendants, parents first.
fn descendants(pid: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1))
            .and_then(|ppid| ppid.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (child, parent)));
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    found
}
