//! Processes by pid and start time: a pid alone may be another process's by now.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Pids of every process in these cgroups and the ones below, each once. Cgroups that are gone have none.
pub(crate) fn in_cgroups(cgroups: &[PathBuf]) -> Vec<i32> {
    let mut pids = Vec::new();
    for cgroup in cgroups {
        collect(cgroup, &mut pids);
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn collect(cgroup: &Path, pids: &mut Vec<i32>) {
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pids);
        }
    }
}

/// A process's parent, and when it was started, in clock ticks since boot; `None` where it has ended.
pub(crate) fn parent_and_start(pid: i32) -> Option<(i32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat)
}

/// When a process was started; `None` where it has ended.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    parent_and_start(pid).map(|(_, start)| start)
}

/// Fields 4 and 22; the name in between may contain anything, parentheses and spaces too.
fn parse_stat(stat: &str) -> Option<(i32, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(parse_stat(stat), Some((3, 4711)));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn the_own_process_has_a_start_and_a_parent() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (parent, start) = parent_and_start(own).unwrap();
        assert!(parent > 0 && start > 0);
    }

    #[test]
    fn processes_of_cgroups_below_count_once() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(directory.path().join("cgroup.procs"), "3\n5\n").unwrap();
        fs::write(below.join("cgroup.procs"), "4\n").unwrap();
        let cgroups = [directory.path().to_owned(), below, "/nonexistent".into()];
        assert_eq!(in_cgroups(&cgroups), [3, 4, 5]);
    }
}
