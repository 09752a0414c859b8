//! Units, through systemctl.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{command, lab, wait};

/// Where run-time changes of units live: gone with a reboot, and removed by the repair.
const RUNTIME_UNITS: &str = "/run/systemd/system";
const DROP_IN: &str = "e2e.conf";

/// A property of a unit.
pub(crate) fn property(unit: &str, name: &str) -> Result<String> {
    let text = command::output(&[
        "systemctl",
        "show",
        "--value",
        &format!("--property={name}"),
        "--",
        unit,
    ])?;
    Ok(text.trim().to_owned())
}

/// Whether `systemctl is-active` says so.
pub(crate) fn is_active(unit: &str) -> Result<bool> {
    Ok(command::run(&["systemctl", "is-active", "--quiet", unit])?.code == 0)
}

/// Starts a unit and waits until it is ready.
pub(crate) fn start(unit: &str) -> Result<()> {
    command::output(&["systemctl", "start", unit]).map(drop)
}

/// Stops a unit and waits until it is gone.
pub(crate) fn stop(unit: &str) -> Result<()> {
    command::output(&["systemctl", "stop", unit]).map(drop)
}

/// Restarts a unit and waits until it is ready.
pub(crate) fn restart(unit: &str) -> Result<()> {
    command::output(&["systemctl", "restart", unit]).map(drop)
}

/// Kills a unit's main process as the kernel does when memory runs out; the process that was killed.
pub(crate) fn kill_9(unit: &str) -> Result<rustix::process::Pid> {
    let pid = lab::main_process(unit)?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .with_context(|| format!("cannot kill {unit}"))?;
    Ok(pid)
}

/// Waits until systemd has started a unit again, with another main process than `old`.
pub(crate) fn wait_restarted(unit: &str, old: rustix::process::Pid) -> Result<()> {
    wait::until_true(wait::SOON, &format!("{unit} is started again"), || {
        Ok(is_active(unit)? && lab::main_process(unit)? != old)
    })
}

/// A unit's cgroup; one that is not there for a unit that does not run.
pub(crate) fn cgroup(unit: &str) -> Result<PathBuf> {
    let group = property(unit, "ControlGroup")?;
    let group = if group.is_empty() {
        "/there-is-none"
    } else {
        &group
    };
    Ok(PathBuf::from(format!("/sys/fs/cgroup{group}")))
}

/// The number after a name in a file of a unit's cgroup, such as `frozen` in `cgroup.events`.
pub(crate) fn cgroup_value(unit: &str, file: &str, name: &str) -> Result<u64> {
    let path = cgroup(unit)?.join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then(|| value.parse().ok())?
    });
    value.with_context(|| format!("no {name} in {}", path.display()))
}

/// The processes in a unit's cgroup.
pub(crate) fn processes(unit: &str) -> Result<Vec<u32>> {
    let path = cgroup(unit)?.join("cgroup.procs");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let processes: Vec<u32> = text.lines().map(str::parse).collect::<Result<_, _>>()?;
    // The kernel's word for a process that this machine can't see.
    ensure!(
        !processes.contains(&0),
        "{unit} shares its cgroup with another machine: each container needs a cgroup of its own"
    );
    Ok(processes)
}

/// Adds settings to a unit or template until the repair; its running processes don't see them before their next start.
pub(crate) fn drop_in(unit: &str, settings: &str) -> Result<()> {
    let directory = format!("{RUNTIME_UNITS}/{unit}.d");
    fs::create_dir_all(&directory)?;
    fs::write(format!("{directory}/{DROP_IN}"), settings)?;
    command::output(&["systemctl", "daemon-reload"]).map(drop)
}

/// Removes all such settings; whether there were any.
pub(crate) fn remove_drop_ins() -> Result<bool> {
    let mut found = false;
    for entry in fs::read_dir(RUNTIME_UNITS)? {
        let directory = entry?.path();
        let file = directory.join(DROP_IN);
        if file.is_file() {
            fs::remove_file(&file)?;
            let _ = fs::remove_dir(&directory);
            found = true;
        }
    }
    if found {
        command::output(&["systemctl", "daemon-reload"])?;
    }
    Ok(found)
}
