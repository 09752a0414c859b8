//! What keeps a broken service from breaking the machine: sandboxes, users, sockets, secrets.

use std::{fs, os::unix::fs::MetadataExt};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command, figures,
    lab::{
        self, API_1, API_2, COLLECTOR, CONFIGURED, CONTROLLER, GATEWAY, GUARD, INJECTOR, INVENTORY,
        LOADGEN, OBSERVER, POSTGRESQL, PROMETHEUS, WORKER,
    },
    story::test,
    systemd,
};

const UNPRIVILEGED: [&str; 10] = [
    GATEWAY, API_1, API_2, INVENTORY, WORKER, POSTGRESQL, COLLECTOR, PROMETHEUS, LOADGEN,
    CONTROLLER,
];

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("hardening::every_unit_is_exposed_by_2_5_at_most", exposure),
        test(
            "hardening::every_process_runs_as_its_own_user_in_its_own_slice",
            users,
        ),
        test(
            "hardening::injector_and_observer_hold_four_capabilities_and_the_guard_two",
            capabilities,
        ),
        test(
            "hardening::sockets_are_open_to_the_operators_group_only",
            sockets,
        ),
        test("hardening::secrets_and_state_are_private", secrets),
    ]
}

/// The figure of `systemd-analyze security`, in tenths: 0 is locked in, 100 is free.
fn exposure_tenths(unit: &str) -> Result<u32> {
    let text = command::output(&["systemd-analyze", "security", "--no-pager", unit])?;
    let figure = text.lines().rev().find_map(|line| {
        let figure = line.split_once(&format!("for {unit}: "))?.1;
        figure.split(' ').next()?.parse::<f64>().ok()
    });
    let figure = figure.with_context(|| format!("no figure for {unit} in: {text}"))?;
    Ok((figure * 10.0).round() as u32)
}

fn exposure() -> Result<()> {
    let mut exposed = Vec::new();
    for unit in UNPRIVILEGED {
        let tenths = exposure_tenths(unit)?;
        figures::note(format!("{unit}: {}.{}", tenths / 10, tenths % 10));
        if tenths > 25 {
            exposed.push((unit, tenths));
        }
    }
    for unit in [INJECTOR, GUARD, OBSERVER] {
        let tenths = exposure_tenths(unit)?;
        figures::note(format!(
            "{unit}: {}.{}, privileged",
            tenths / 10,
            tenths % 10
        ));
        if tenths > 25 {
            exposed.push((unit, tenths));
        }
    }
    ensure!(exposed.is_empty(), "above 2.5 (in tenths): {exposed:?}");
    Ok(())
}

/// The name behind a process's real user id, and whether all four of its ids are the same; `None` where it has ended.
fn user_of(process: u32) -> Result<Option<(String, bool)>> {
    // PostgreSQL's workers come and go.
    let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else {
        return Ok(None);
    };
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .context("no Uid")?;
    let ids: Vec<&str> = line.split_whitespace().collect();
    let entry = command::output(&["getent", "passwd", ids[0]])?;
    let name = entry.split(':').next().unwrap_or_default().to_owned();
    Ok(Some((name, ids.iter().all(|id| *id == ids[0]))))
}

fn users() -> Result<()> {
    for (unit, user, slice) in [
        (GATEWAY, "observastack-sut", lab::SUT_SLICE),
        (API_1, "observastack-sut", lab::SUT_SLICE),
        (API_2, "observastack-sut", lab::SUT_SLICE),
        (INVENTORY, "observastack-sut", lab::SUT_SLICE),
        (WORKER, "observastack-sut", lab::SUT_SLICE),
        (POSTGRESQL, "observastack-postgresql", lab::SUT_SLICE),
        (
            LOADGEN,
            "observastack-loadgen",
            "observastack-control.slice",
        ),
        (
            CONTROLLER,
            "observastack-controller",
            "observastack-control.slice",
        ),
        (INJECTOR, "root", "observastack-control.slice"),
        (GUARD, "root", "observastack-control.slice"),
        (
            OBSERVER,
            "observastack-observer",
            "observastack-control.slice",
        ),
    ] {
        let mut checked = 0;
        for process in systemd::processes(unit)? {
            let Some((name, same)) = user_of(process)? else {
                continue;
            };
            checked += 1;
            ensure!(name == user && same, "a process of {unit} runs as {name}");
        }
        ensure!(checked > 0, "{unit} has no processes");
        let group = systemd::property(unit, "ControlGroup")?;
        ensure!(
            group == format!("/observastack.slice/{slice}/{unit}"),
            "{unit} is in {group}"
        );
    }
    let groups = command::output(&["id", "--name", "--groups", "observastack-sut"])?;
    ensure!(
        groups.split_whitespace().eq(["observastack-sut"]),
        "observastack-sut is in {groups}"
    );
    Ok(())
}

/// One of a process's sets of capabilities.
fn capability_set(process: i32, set: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(set));
    Ok(u64::from_str_radix(
        line.context("no capabilities")?.trim(),
        16,
    )?)
}

fn capabilities() -> Result<()> {
    // CAP_NET_ADMIN (12), CAP_SYS_PTRACE (19), CAP_SYS_RESOURCE (24), CAP_SYSLOG (34), CAP_PERFMON (38), CAP_BPF (39), by number.
    let reverts: u64 = 1 << 12 | 1 << 24;
    let loads: u64 = 1 << 38 | 1 << 39;
    let names: u64 = 1 << 19 | 1 << 34;
    // What whoever runs this machine keeps from its root, no unit can have.
    let given = capability_set(1, "CapBnd:")?;
    for (unit, expected) in [
        (INJECTOR, reverts | loads),
        (GUARD, reverts),
        (OBSERVER, loads | names),
        (GATEWAY, 0),
        (API_1, 0),
        (INVENTORY, 0),
        (WORKER, 0),
        (POSTGRESQL, 0),
        (LOADGEN, 0),
        (CONTROLLER, 0),
    ] {
        let process = lab::main_process(unit)?.as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let expected = expected & given;
        for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
            let held = capability_set(process.get(), set)?;
            ensure!(
                held == expected,
                "{unit} has {set} {held:x} instead of {expected:x}"
            );
        }
        ensure!(
            status
                .lines()
                .any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])),
            "{unit} may gain privileges"
        );
    }
    Ok(())
}

/// Owner, group and mode of a file, as `stat` prints them.
fn owner(path: &str) -> Result<String> {
    Ok(command::output(&["stat", "--format=%U:%G %a", path])?
        .trim()
        .to_owned())
}

fn sockets() -> Result<()> {
    ensure!(
        owner(lab::INJECTOR_SOCKET)? == "root:observastack 660",
        "{}",
        owner(lab::INJECTOR_SOCKET)?
    );
    let observer = owner(lab::OBSERVER_SOCKET)?;
    ensure!(
        observer == "observastack-observer:observastack 660",
        "{observer}"
    );
    let loadgen = owner(lab::LOADGEN_SOCKET)?;
    ensure!(
        loadgen == "observastack-loadgen:observastack 660",
        "{loadgen}"
    );
    for (_, _, directory) in CONFIGURED {
        let directory = format!("/run/observastack/{directory}");
        ensure!(
            owner(&directory)? == "observastack-sut:observastack 2750",
            "{directory}: {}",
            owner(&directory)?
        );
        let socket = format!("{directory}/admin.sock");
        ensure!(
            owner(&socket)? == "observastack-sut:observastack 660",
            "{socket}: {}",
            owner(&socket)?
        );
    }
    // Only the gateway's port is reachable from outside.
    let text = command::output(&["ss", "-Hltn"])?;
    for line in text.lines() {
        let address = line.split_whitespace().nth(3).context("no address")?;
        let Some((host, port)) = address.rsplit_once(':') else {
            continue;
        };
        if ["8001", "8080", "8101", "8102", "8200", "8300", "5440"].contains(&port) {
            ensure!(host == "127.0.0.1", "{address} is open to the network");
        }
    }
    Ok(())
}

fn secrets() -> Result<()> {
    let directory = "/etc/observastack/secrets";
    ensure!(
        owner(directory)? == "root:root 700",
        "{}",
        owner(directory)?
    );
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let text = path.to_string_lossy().into_owned();
        ensure!(
            owner(&text)? == "root:root 600",
            "{text}: {}",
            owner(&text)?
        );
        ensure!(
            fs::read_to_string(&path)?.trim().len() >= 20,
            "{text} is too short to be a password"
        );
        names.push(
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    ensure!(names.len() == 3, "{names:?}");
    // No password in what anybody can read: command lines and environments.
    for name in names.into_iter().flatten() {
        let secret = fs::read_to_string(format!("{directory}/{name}"))?;
        for unit in UNPRIVILEGED {
            for process in systemd::processes(unit)? {
                for file in ["cmdline", "environ"] {
                    let content = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
                    let content = String::from_utf8_lossy(&content).into_owned();
                    ensure!(
                        !content.contains(secret.trim()),
                        "{name} stands in {file} of {unit}"
                    );
                }
            }
        }
    }
    for (_, _, directory) in CONFIGURED {
        let path = format!("/var/lib/observastack/{directory}");
        ensure!(
            owner(&path)? == "observastack-sut:observastack-sut 700",
            "{path}: {}",
            owner(&path)?
        );
    }
    let data = "/var/lib/observastack/postgresql/data";
    let mode = fs::metadata(data)?.mode() & 0o7777;
    ensure!(mode == 0o700, "{data} has mode {mode:o}");
    Ok(())
}
