//! The processes of a unit may open fewer files: the soft limit `RLIMIT_NOFILE` of each is lowered.
//!
//! Needs `CAP_SYS_RESOURCE`. Undone by setting each process's own limit again; a process that has ended has none. Processes
//! that came after the change (a restart, a fork) are taken in by [`FdLimit::grown`], and journalled before they are limited.

use std::{fs, path::PathBuf};

use rustix::process::{Pid, Resource, Rlimit};
use serde::{Deserialize, Serialize};

use crate::host::{change::ChangeError, process};

/// A limit of open files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdLimit {
    /// The unit.
    pub unit: String,
    /// Its cgroups, as absolute paths.
    pub cgroups: Vec<PathBuf>,
    /// The soft limit while the fault holds.
    pub soft: u64,
    /// Whose limits are changed, and what they were.
    #[serde(default)]
    pub processes: Vec<Limited>,
}

/// A process and its limits before the fault. A missing one is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// The process.
    pub pid: i32,
    /// When it was started, in clock ticks since boot.
    pub start_time: u64,
    /// Its soft limit.
    pub soft: Option<u64>,
    /// Its hard limit.
    pub hard: Option<u64>,
}

impl FdLimit {
    pub(crate) fn prepare(mut self) -> Self {
        self.processes = self.newcomers();
        self
    }

    /// The change with processes that have come since, without those that have gone, and with what listed ones have got since:
    /// systemd sets a new process's limits after it is in the unit's cgroup. `None` where nothing is new.
    pub(crate) fn grown(&self) -> Option<Self> {
        let newcomers = self.newcomers();
        let mut grown = self.clone();
        grown.processes.retain(Limited::lives);
        let mut is_new = !newcomers.is_empty();
        for process in &mut grown.processes {
            if let Some((soft, hard)) = limits(process.pid)
                && soft != self.lowered(process)
            {
                (process.soft, process.hard) = (soft, hard);
                is_new = true;
            }
        }
        grown.processes.extend(newcomers);
        is_new.then_some(grown)
    }

    /// Lowers the limits of the processes that are listed.
    pub fn apply(&self) -> Result<(), ChangeError> {
        self.processes
            .iter()
            .try_for_each(|process| process.set(self.lowered(process)))
    }

    /// Gives each process its limits back. All are tried, the first failure is told.
    pub fn revert(&self) -> Result<(), ChangeError> {
        let late = self.newcomers();
        let mut result = Ok(());
        for process in self.processes.iter().chain(&late) {
            result = result.and(process.set(process.soft));
        }
        result
    }

    fn lowered(&self, process: &Limited) -> Option<u64> {
        Some(process.soft.map_or(self.soft, |soft| soft.min(self.soft)))
    }

    /// Processes of the unit that are not listed.
    fn newcomers(&self) -> Vec<Limited> {
        process::in_cgroups(&self.cgroups)
            .into_iter()
            .filter_map(|pid| self.newcomer(pid))
            .collect()
    }

    fn newcomer(&self, pid: i32) -> Option<Limited> {
        let (parent, start_time) = process::parent_and_start(pid)?;
        if self
            .processes
            .iter()
            .any(|known| known.pid == pid && known.start_time == start_time)
        {
            return None;
        }
        let (soft, hard) = limits(pid)?;
        let mut found = Limited {
            pid,
            start_time,
            soft,
            hard,
        };
        // A child of a limited process has inherited the fault, not its own limit.
        let from = self
            .processes
            .iter()
            .find(|known| known.pid == parent)
            .or_else(|| self.processes.iter().find(|known| known.hard == hard));
        if let Some(from) = from
            && soft == self.lowered(from)
        {
            found.soft = from.soft;
        }
        Some(found)
    }
}

impl Limited {
    fn lives(&self) -> bool {
        process::start_time(self.pid) == Some(self.start_time)
    }

    fn set(&self, soft: Option<u64>) -> Result<(), ChangeError> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.lives()) else {
            return Ok(());
        };
        // Nothing to do, and so nothing that could be refused: a change that was never made can always be undone.
        if limits(self.pid) == Some((soft, self.hard)) {
            return Ok(());
        }
        let limit = Rlimit {
            current: soft,
            maximum: self.hard,
        };
        match rustix::process::prlimit(Some(pid), Resource::Nofile, limit) {
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(ChangeError::Limit {
                pid: self.pid,
                source: error.into(),
            }),
        }
    }
}

/// A process's soft and hard limit of open files.
fn limits(pid: i32) -> Option<(Option<u64>, Option<u64>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    parse(&text)
}

fn parse(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let mut values = line.split_whitespace();
    let mut next = || match values.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn child() -> Child {
        Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn pid(child: &Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    /// A directory that looks like a cgroup with these processes.
    fn cgroup(pids: &[i32]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        join(&directory, pids);
        directory
    }

    fn join(directory: &tempfile::TempDir, pids: &[i32]) {
        let lines: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        fs::write(directory.path().join("cgroup.procs"), lines).unwrap();
    }

    fn change(directory: &tempfile::TempDir, soft: u64) -> FdLimit {
        FdLimit {
            unit: "shop.service".to_owned(),
            cgroups: vec![directory.path().to_owned()],
            soft,
            processes: Vec::new(),
        }
    }

    #[test]
    fn a_real_process_is_limited_and_released() {
        let mut child = child();
        let before = limits(pid(&child)).unwrap();
        let directory = cgroup(&[pid(&child)]);
        let change = change(&directory, 7).prepare();
        change.apply().unwrap();
        change.apply().unwrap();
        assert_eq!(limits(pid(&child)).unwrap(), (Some(7), before.1));
        change.revert().unwrap();
        change.revert().unwrap();
        assert_eq!(limits(pid(&child)).unwrap(), before);
        child.kill().unwrap();
        child.wait().unwrap();
        change.apply().unwrap();
        change.revert().unwrap();
    }

    #[test]
    fn a_process_that_comes_later_is_taken_in_and_one_that_inherited_the_limit_gets_the_true_one_back()
     {
        let (mut first, mut second) = (child(), child());
        let before = limits(pid(&first)).unwrap();
        let directory = cgroup(&[pid(&first)]);
        let change = change(&directory, 7).prepare();
        change.apply().unwrap();
        assert_eq!(change.grown(), None);
        // What a fork of the first would look like: the lowered limit from its first moment.
        let inherited = Limited {
            pid: pid(&second),
            start_time: process::start_time(pid(&second)).unwrap(),
            soft: before.0,
            hard: before.1,
        };
        inherited.set(Some(7)).unwrap();
        join(&directory, &[pid(&first), pid(&second)]);
        let grown = change.grown().unwrap();
        assert_eq!(grown.processes.len(), 2);
        assert_eq!(grown.processes[1].soft, before.0);
        // Even an entry that has not grown yet releases it.
        change.revert().unwrap();
        assert_eq!(limits(pid(&second)).unwrap(), before);
        for child in [&mut first, &mut second] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_process_whose_limits_are_set_after_it_has_come_is_limited_again_and_gets_those_back() {
        let mut child = child();
        let directory = cgroup(&[pid(&child)]);
        let (_, hard) = limits(pid(&child)).unwrap();
        let change = change(&directory, 7).prepare();
        change.apply().unwrap();
        // As systemd does between the fork and the program's start.
        change.processes[0].set(Some(99)).unwrap();
        let grown = change.grown().unwrap();
        grown.apply().unwrap();
        assert_eq!(limits(pid(&child)).unwrap(), (Some(7), hard));
        assert_eq!(grown.grown(), None);
        grown.revert().unwrap();
        assert_eq!(limits(pid(&child)).unwrap(), (Some(99), hard));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_limit_that_is_lower_already_stays() {
        let mut child = child();
        let directory = cgroup(&[pid(&child)]);
        let before = limits(pid(&child)).unwrap();
        let change = change(&directory, 1 << 40).prepare();
        change.apply().unwrap();
        assert_eq!(limits(pid(&child)).unwrap(), before);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_kernels_table_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 unlimited            files     \n";
        assert_eq!(parse(text), Some((Some(1024), None)));
        assert_eq!(parse(""), None);
    }
}
