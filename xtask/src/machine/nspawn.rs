//! A machine under systemd-nspawn: the host's kernel at full speed, systemd as its pid 1. Works where systemd runs the host and where it doesn't.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Kind, Name, State, find_process, image, network, prepare, stop_process};
use crate::debian::{self, Rootfs};
use crate::run::Run;
use crate::{apt, paths};

/// Where the machine's console goes.
fn console_log(name: Name) -> std::path::PathBuf {
    paths::logs().join(format!("machine-{}.log", name.text()))
}

/// What the host needs for it.
pub(crate) fn host_packages() -> Result<()> {
    apt::ensure(
        "the lab's machine",
        &[
            "systemd-container",
            "nftables",
            "iproute2",
            "openssh-client",
        ],
    )
}

/// Makes the machine where there is none, starts it where it doesn't run, and waits for ssh.
pub(crate) fn start(name: Name) -> Result<State> {
    if let Some(state) = State::load(name)?
        && is_running(name)
    {
        eprintln!("    the machine runs already");
        state.wait_for_ssh(name, Duration::from_secs(20), || still_running(name))?;
        return Ok(state);
    }
    if !apt::can_be_root() {
        bail!(
            "systemd-nspawn needs root: run this as root, or as a user that may use sudo without a password"
        );
    }
    prepare(name)?;
    let root = Rootfs {
        path: name.root_dir().join("root"),
    };
    let subnet = network::Subnet::choose(name)?;
    if !root.path.exists() {
        let base = image::nspawn()?;
        let new = Rootfs {
            path: name.root_dir().join("root.new"),
        };
        debian::copy(&base.path, &new.path, "copy the machine's image")?;
        Run::root("mv").arg(&new.path).arg(&root.path).output()?;
    }
    image::personalize(&root, name, &subnet.networkd_file(), &subnet.machine())?;

    fs::create_dir_all(paths::logs())?;
    let mut child = command(name, &root.path).spawn(&console_log(name))?;
    let state = State {
        kind: Kind::Nspawn,
        user: "root".into(),
        address: subnet.machine(),
        port: 22,
        shop: format!("http://{}:8000", subnet.machine()),
    };
    state.save(name)?;
    network::connect(name, &subnet).with_context(|| console_end(name))?;
    state.wait_for_ssh(name, Duration::from_secs(120), || {
        // On a host with systemd the child is systemd-run, which has left by now; the machine's own process counts.
        if child.try_wait()?.is_none() {
            Ok(())
        } else {
            still_running(name)
        }
    })?;
    // Every program that the injector loads is checked against this file; without it the lab could only half work.
    state
        .ssh(name, "test -r /sys/kernel/btf/vmlinux")
        .output()
        .context("the machine does not see the kernel's type information (BTF)")?;
    Ok(state)
}

fn command(name: Name, root: &Path) -> Run {
    let nspawn = [
        "systemd-nspawn",
        "--register=no",
        "--keep-unit",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--quiet",
    ];
    // The injector and the observer need these two system calls and, inside their units' bounds, capabilities that a container usually has
    // not. The addresses of the kernel's functions are hidden from containers where they are, so they are offered elsewhere.
    let rights = [
        "--capability=all",
        "--system-call-filter=bpf perf_event_open",
        "--bind-ro=/proc/kallsyms:/run/host/kallsyms",
    ];
    let run = if systemd_runs_the_host() {
        Run::root("systemd-run")
            .args(["--quiet", "--collect", &format!("--unit={}", unit(name))])
            .args([
                "--property=Delegate=yes",
                "--property=KillMode=mixed",
                "--property=TasksMax=infinity",
                "--property=DevicePolicy=auto",
            ])
            .arg("--setenv=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
            .args(nspawn)
    } else {
        // Without a service manager, every machine would share the cgroups of whoever starts it, and a fault in one
        // would act on the unit of the same name in the other.
        Run::root("sh")
            .args([
                "-c",
                r#"mkdir -p "$0" && echo $$ > "$0/cgroup.procs" && exec "$@""#,
            ])
            .arg(cgroup(name))
            .args(nspawn)
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .detached()
    };
    run.arg(format!("--machine={}", name.machine()))
        .arg("-D")
        .arg(root)
        .args(["--boot", "--network-veth"])
        .args(rights)
}

/// The machine's cgroup on a host without a service manager, below the unified hierarchy wherever that is mounted.
fn cgroup(name: Name) -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let unified = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let directory = fields.next()?;
        (fields.next()? == "cgroup2").then_some(directory)
    });
    Path::new(unified.unwrap_or("/sys/fs/cgroup")).join(name.machine())
}

/// Shuts it down and takes its network and its cgroups away.
pub(crate) fn stop(name: Name) -> Result<()> {
    if let Some(pid) = process(name) {
        stop_process(pid, Duration::from_secs(40))?;
    }
    let cgroup = cgroup(name);
    if cgroup.is_dir() {
        Run::root("find")
            .arg(&cgroup)
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"])
            .output()
            .context("removing the machine's cgroups")?;
    }
    network::disconnect(name)
}

/// Whether its process is there.
pub(crate) fn is_running(name: Name) -> bool {
    process(name).is_some()
}

fn process(name: Name) -> Option<u32> {
    find_process("systemd-nspawn", &format!("--machine={}", name.machine()))
}

fn still_running(name: Name) -> Result<()> {
    if is_running(name) {
        Ok(())
    } else {
        bail!("the machine ended: {}", console_end(name))
    }
}

fn console_end(name: Name) -> String {
    let log = console_log(name);
    let (place, text) = if systemd_runs_the_host() {
        let unit = unit(name);
        let text = Run::root("journalctl")
            .args(["--no-pager", "--output=cat", "--lines=20", "--unit", &unit])
            .limit_s(30)
            .output();
        (
            format!("journalctl --unit {unit}"),
            text.unwrap_or_default(),
        )
    } else {
        (
            log.display().to_string(),
            fs::read_to_string(&log).unwrap_or_default(),
        )
    };
    let lines: Vec<&str> = text.lines().collect();
    format!(
        "its console ({place}) ends with:\n    {}",
        lines[lines.len().saturating_sub(20)..].join("\n    ")
    )
}

fn systemd_runs_the_host() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// The machine's unit on such a host.
fn unit(name: Name) -> String {
    format!("observastack-{}-machine", name.text())
}
