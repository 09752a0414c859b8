//! A machine with the lab on it: made by xtask under systemd-nspawn or QEMU, or somebody's own that is reached with ssh.

pub(crate) mod image;
mod network;
pub(crate) mod nspawn;
pub(crate) mod qemu;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::lock::{self, Lock};
use crate::paths;
use crate::run::{self, Run};

/// Which machine: there can be one of each at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// The one that `up` makes.
    Lab,
    /// The one that the end-to-end tests make and take down again.
    Test,
    /// The virtual one that the VM lane makes and takes down again.
    VmTest,
}

impl Name {
    /// Every machine that xtask knows.
    pub(crate) const ALL: [Self; 3] = [Self::Lab, Self::Test, Self::VmTest];

    /// For paths and people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Test => "test",
            Self::VmTest => "vmtest",
        }
    }

    /// Its name to systemd-nspawn; `ve-` before it is the host's network interface, which has to fit into 15 characters.
    pub(crate) fn machine(self) -> String {
        format!("obs-{}", self.text())
    }

    /// Its files that root owns: the root file system or the disk.
    pub(crate) fn root_dir(self) -> PathBuf {
        Path::new(ROOT_STATE).join(self.text())
    }

    /// Its files that belong to whoever ran `up`: key, inventory, state.
    pub(crate) fn state_dir(self) -> PathBuf {
        paths::root().join(".observastack").join(self.text())
    }

    /// Held while something changes the machine.
    pub(crate) fn lock(self) -> Result<Lock> {
        lock::take(
            &paths::root()
                .join(".observastack")
                .join(format!("{}.lock", self.text())),
        )
    }
}

/// The folder of everything on this host that root owns and `down` removes.
pub(crate) const ROOT_STATE: &str = "/var/lib/observastack-lab";

/// How a machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Under systemd-nspawn, on the host's kernel.
    Nspawn,
    /// Under QEMU, with Debian's kernel.
    Vm,
    /// Not ours.
    Host,
}

/// What later commands have to know about a machine.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct State {
    /// How it runs.
    pub(crate) kind: Kind,
    /// Who logs in.
    pub(crate) user: String,
    /// Where ssh goes.
    pub(crate) address: String,
    /// Where ssh goes.
    pub(crate) port: u16,
    /// Where the shop answers, as seen from here.
    pub(crate) shop: String,
}

impl State {
    /// The state that `up` left, if there is a machine of this name.
    pub(crate) fn load(name: Name) -> Result<Option<Self>> {
        let file = name.state_dir().join("state.json");
        match fs::read(&file) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged: run cargo xtask down", file.display())
            })?)),
            Err(_) => Ok(None),
        }
    }

    /// The same, for commands that need a machine.
    pub(crate) fn need(name: Name) -> Result<Self> {
        Self::load(name)?.context("there is no lab: run cargo xtask up first")
    }

    /// Leaves it for later commands.
    pub(crate) fn save(&self, name: Name) -> Result<()> {
        let file = name.state_dir().join("state.json");
        fs::write(&file, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// ssh's options. Our own machines are known by a host key that was made with them; for a machine of the user's, ssh decides as always.
    pub(crate) fn ssh_options(&self, name: Name) -> Vec<String> {
        let mut options = vec![
            "-o".to_owned(),
            "BatchMode=yes".into(),
            "-o".into(),
            "ConnectTimeout=5".into(),
            "-p".into(),
            self.port.to_string(),
        ];
        if self.kind != Kind::Host {
            let dir = name.state_dir();
            options.extend([
                "-F".into(),
                "/dev/null".into(),
                "-o".into(),
                "IdentitiesOnly=yes".into(),
                "-i".into(),
                dir.join("key").display().to_string(),
            ]);
            options.extend([
                "-o".into(),
                format!(
                    "UserKnownHostsFile=\"{}\"",
                    dir.join("known_hosts").display()
                ),
            ]);
            options.extend([
                "-o".into(),
                "StrictHostKeyChecking=yes".into(),
                "-o".into(),
                "LogLevel=ERROR".into(),
            ]);
        }
        options
    }

    /// A command line for the machine's shell.
    pub(crate) fn ssh(&self, name: Name, command: &str) -> Run {
        Run::new("ssh")
            .args(self.ssh_options(name))
            .arg(format!("{}@{}", self.user, self.address))
            .arg("--")
            .arg(command)
    }

    /// Waits until ssh answers. `alive` says whether there is still something to wait for.
    pub(crate) fn wait_for_ssh(
        &self,
        name: Name,
        limit: Duration,
        mut alive: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        loop {
            let answer = self.ssh(name, "true").limit_s(20).status()?;
            if answer.status.success() {
                eprintln!(
                    "    ssh answers after {:.1} s",
                    started.elapsed().as_secs_f64()
                );
                return Ok(());
            }
            alive()?;
            if started.elapsed() > limit {
                bail!(
                    "{}@{} port {} does not answer to ssh within {} s:\n    {}",
                    self.user,
                    self.address,
                    self.port,
                    limit.as_secs(),
                    answer.lines.join("\n    ")
                );
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}

/// Makes the folder for the machine's state, with a key of its own; refuses a machine that another checkout made.
pub(crate) fn prepare(name: Name) -> Result<()> {
    let dir = name.state_dir();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    if !dir.join("key").exists() {
        Run::new("ssh-keygen")
            .args([
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "observastack-lab",
                "-f",
            ])
            .arg(dir.join("key"))
            .output()?;
    }
    let owner_file = name.root_dir().join("owner");
    let own = paths::root().display().to_string();
    match fs::read_to_string(&owner_file) {
        Ok(owner) if owner.trim() != own && Path::new(owner.trim()).exists() => {
            bail!(
                "the machine {} belongs to the checkout in {}: run cargo xtask down there first",
                name.machine(),
                owner.trim()
            )
        }
        _ => Run::root("install")
            .args(["-D", "-m", "644", "/dev/stdin"])
            .arg(&owner_file)
            .input(own)
            .output()
            .map(drop),
    }
}

/// Removes the machine's files and, with the last machine, what the host was changed for.
pub(crate) fn remove_files(name: Name) -> Result<()> {
    crate::debian::remove(&name.root_dir())?;
    if fs::read_dir(ROOT_STATE)
        .is_ok_and(|entries| !entries.flatten().any(|entry| entry.path().is_dir()))
    {
        network::restore_forwarding()?;
        crate::debian::remove(Path::new(ROOT_STATE))?;
    }
    fs::remove_dir_all(name.state_dir()).ok();
    Ok(())
}

/// The process that runs a machine: its program's name and one of its arguments.
fn find_process(program: &str, marker: &str) -> Option<u32> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&str> = line
            .split(|byte| *byte == 0)
            .map(|word| std::str::from_utf8(word).unwrap_or(""))
            .collect();
        let is_program = words
            .first()
            .is_some_and(|first| first.rsplit('/').next() == Some(program));
        (is_program && words.contains(&marker)).then_some(pid)
    })
}

/// Asks the process that runs a machine to shut it down, and forces it after the limit.
fn stop_process(pid: u32, limit: Duration) -> Result<()> {
    Run::root("kill")
        .args(["-TERM", &pid.to_string()])
        .status()?;
    let started = Instant::now();
    while Path::new(&format!("/proc/{pid}")).exists() {
        if started.elapsed() > limit {
            crate::processes::kill_tree(pid, !run::is_root());
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
