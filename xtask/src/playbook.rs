//! Ansible, in a virtual environment of our own, against one machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::machine::{Kind, Name, State};
use crate::run::Run;
use crate::{paths, python};

/// What a run of a playbook did, from its recap.
pub(crate) struct Recap {
    /// Tasks that changed something.
    pub(crate) changed: u64,
    /// All lines that it printed.
    pub(crate) lines: Vec<String>,
}

impl Recap {
    /// An error that names the tasks which changed something.
    pub(crate) fn nothing_changed(&self) -> Result<()> {
        if self.changed == 0 {
            return Ok(());
        }
        let lines: Vec<&String> = self
            .lines
            .iter()
            .filter(|line| line.starts_with("changed:") || line.starts_with("TASK"))
            .collect();
        let tasks: Vec<&str> = lines
            .windows(2)
            .filter(|pair| pair[1].starts_with("changed:"))
            .map(|pair| pair[0].as_str())
            .collect();
        bail!("{} tasks report a change: {tasks:?}", self.changed)
    }
}

/// The environment with what `ansible/requirements.txt` pins; its `bin` folder is given back.
pub(crate) fn environment() -> Result<PathBuf> {
    python::environment("venv", "ansible/requirements.txt", "Ansible")
}

/// Installs or updates the lab on the machine.
pub(crate) fn install(name: Name, state: &State, deb: &Path, label: &str) -> Result<Recap> {
    install_with(name, state, deb, &[], label)
}

/// The same with variables of the playbook's, each `NAME=VALUE`.
pub(crate) fn install_with(
    name: Name,
    state: &State,
    deb: &Path,
    variables: &[&str],
    label: &str,
) -> Result<Recap> {
    let deb = format!("observastack_deb={}", deb.display());
    let mut args = vec!["-e", &deb];
    args.extend(variables.iter().flat_map(|variable| ["-e", variable]));
    run(name, state, "install.yml", &args, label)
}

/// Tries to install with one more variable (`NAME=VALUE`) on a machine that has to be refused; gives back what the playbook said.
pub(crate) fn install_refused(
    name: Name,
    state: &State,
    deb: &Path,
    variable: Option<&str>,
) -> Result<String> {
    let deb = format!("observastack_deb={}", deb.display());
    let mut args = vec!["-e", &deb];
    args.extend(variable.into_iter().flat_map(|variable| ["-e", variable]));
    let ended = command(name, state, "install.yml", &args)?
        .limit_s(300)
        .status()?;
    let said = ended.lines.join("\n");
    // 2 is a task that failed; a machine out of reach or a broken playbook are other numbers.
    if ended.status.code() != Some(2) {
        bail!(
            "install.yml ended with {} where it has to refuse:\n{said}",
            ended.status
        );
    }
    match changes(&ended.lines)? {
        0 => Ok(said),
        changed => bail!("install.yml refused after {changed} changes:\n{said}"),
    }
}

/// Removes the lab from the machine.
pub(crate) fn uninstall(name: Name, state: &State) -> Result<Recap> {
    run(name, state, "uninstall.yml", &[], "playbook uninstall.yml")
}

/// Where the machine's inventory is; written anew each time.
pub(crate) fn inventory(name: Name, state: &State) -> Result<PathBuf> {
    let mut host = json!({ "ansible_host": state.address, "ansible_port": state.port, "ansible_user": state.user });
    if state.kind != Kind::Host {
        let dir = name.state_dir();
        host["ansible_ssh_private_key_file"] = json!(dir.join("key"));
        host["ansible_python_interpreter"] = json!("/usr/bin/python3");
        host["ansible_ssh_common_args"] = json!(format!(
            "-F /dev/null -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=\"{}\"'",
            dir.join("known_hosts").display()
        ));
    }
    let inventory = json!({ "observastack": { "hosts": { name.text(): host } } });
    let file = name.state_dir().join("inventory.json");
    fs::write(&file, serde_json::to_vec_pretty(&inventory)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn run(name: Name, state: &State, playbook: &str, args: &[&str], label: &str) -> Result<Recap> {
    let ended = command(name, state, playbook, args)?
        .limit_s(1800)
        .step(label)?;
    Ok(Recap {
        changed: changes(&ended.lines)?,
        lines: ended.lines,
    })
}

fn command(name: Name, state: &State, playbook: &str, args: &[&str]) -> Result<Run> {
    Ok(Run::new(environment()?.join("ansible-playbook"))
        .arg("-i")
        .arg(inventory(name, state)?)
        .arg(paths::root().join("ansible").join(playbook))
        .args(args)
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_NOCOWS", "1")
        .env("ANSIBLE_HOME", paths::cache()?.join("ansible"))
        .env("PYTHONWARNINGS", "ignore"))
}

/// How many tasks changed something, from the recap at the end.
fn changes(lines: &[String]) -> Result<u64> {
    let recap = lines
        .iter()
        .rev()
        .find(|line| line.contains("changed=") && line.contains("failed="))
        .context("the playbook ended without a recap")?;
    recap
        .split("changed=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no number of changes in {recap:?}"))
}
