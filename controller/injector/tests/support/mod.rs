//! A scene on this machine: directories, cgroups of the unified hierarchy, processes in them. All of it goes with the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    reason = "each test file is a crate of its own and uses a part"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The program under test.
pub(crate) const INJECTOR: &str = env!("CARGO_BIN_EXE_observastack-injector");

/// Whether the kernel may be asked for real; the tests run as root wherever the project is built.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A cgroup of the unified hierarchy, with a process that sleeps in it.
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    processes: Vec<Child>,
}

impl Cgroup {
    pub(crate) fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let root = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields[2] == "cgroup2")
            .map(|fields| PathBuf::from(fields[1]))
            .expect("a unified cgroup hierarchy");
        let path = root.join(format!("obs-host-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let mut cgroup = Self {
            path,
            processes: Vec::new(),
        };
        cgroup.start("exec sleep 1000");
        cgroup
    }

    /// Runs a line of bash in the cgroup.
    pub(crate) fn start(&mut self, line: &str) -> i32 {
        let enter = format!("echo $$ > {}/cgroup.procs && {line}", self.path.display());
        let child = Command::new("bash")
            .args(["-c", &enter])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        wait("the process is in the cgroup", || {
            self.pids().contains(&pid)
        });
        self.processes.push(child);
        pid
    }

    pub(crate) fn pids(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.path.join("cgroup.procs")).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Whether every process is frozen, in the kernel's words.
    pub(crate) fn is_frozen(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .unwrap()
            .contains("frozen 1")
    }

    /// CPU time used, in microseconds.
    pub(crate) fn usage_us(&self) -> u64 {
        let text = fs::read_to_string(self.path.join("cpu.stat")).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))
            .unwrap();
        line.parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("cgroup.freeze"), "0");
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        let end = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.path).is_err() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A process that is killed with the test.
pub(crate) struct Killed(pub(crate) Child);

impl Killed {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds, and gives how long that took.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
    begun.elapsed()
}

/// The injector with the directories of a scene.
pub(crate) fn injector(directory: &Path) -> Command {
    let mut command = Command::new(INJECTOR);
    command
        .arg("--state-dir")
        .arg(directory.join("state"))
        .arg("--socket")
        .arg(directory.join("injector.sock"))
        .arg("--guard-dir")
        .arg(directory.join("guard"));
    command
}
