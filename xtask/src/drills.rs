//! `cargo xtask test drills`: every drill that the package brings, proven in a lab of its own, and the table of docs/drills.md.
//!
//! Most are proven under systemd-nspawn; those whose mechanism a container lacks, in a virtual machine (`--lane drills-vm`). A run replaces the rows of the drills
//! that it has proven, so a table can be written in parts.

mod table;

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use self::table::Row;
use crate::machine::{Name, State, nspawn};
use crate::results::Totals;
use crate::run::Run;
use crate::{e2e, paths, playbook, vm_lane};

/// Seeds that a reference has to pass with.
const SEEDS: &str = "1,2,3";
/// One drill with all of its solvers and seeds; emulation takes its time.
const LIMIT_S: u64 = 3600;
/// What a container lacks: limits of processes, fq, a CPU controller, BPF LSM, device-mapper.
const IN_A_VM: [&str; 5] = [
    "cpu-throttled",
    "fd-exhaustion",
    "fsync-stall",
    "latency-to-database",
    "report-eio",
];

/// Makes a lab, proves every drill that this machine can do, and writes down what came of it.
pub(crate) fn run(filter: Option<&str>, keep: bool) -> Result<Totals> {
    let ids = names(filter, |id| !IN_A_VM.contains(&id))?;
    nspawn::host_packages()?;
    let name = Name::Test;
    e2e::in_machine(name, "drills", &[], keep, |deb, totals| {
        let state = nspawn::start(name)?;
        playbook::install(name, &state, deb, "playbook install.yml")?;
        prove(name, &state, "nspawn", &ids, totals)
    })
}

/// The same in a virtual machine, for those that need one.
pub(crate) fn run_in_vm(filter: Option<&str>, keep: bool) -> Result<Totals> {
    let ids = names(filter, |id| IN_A_VM.contains(&id))?;
    let name = Name::VmTest;
    e2e::in_machine(name, "drills-vm", &[], keep, |deb, totals| {
        let state = vm_lane::lab(name, deb)?;
        prove(name, &state, "VM", &ids, totals)
    })
}

fn prove(
    name: Name,
    state: &State,
    machine: &str,
    ids: &[String],
    totals: &mut Totals,
) -> Result<()> {
    let kernel = state
        .ssh(name, "uname -r")
        .limit_s(30)
        .output()
        .context("the kernel's release")?;
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let machine = format!("{kernel} {machine}");
    let commit = Run::new("git")
        .args(["rev-parse", "--short=10", "HEAD"])
        .limit_s(60)
        .output()?;
    for id in ids {
        let said = state
            .ssh(
                name,
                &format!("observastack-ctl --json drill prove {id} --seeds {SEEDS}"),
            )
            .limit_s(LIMIT_S)
            .status()?;
        let proof: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
        let Some(runs) = proof["runs"].as_array() else {
            let words = said.lines.join("\n");
            totals.fail(id, &words);
            continue;
        };
        let mut rows = Vec::new();
        for run in runs {
            let text = |field: &str| run[field].as_str().unwrap_or("?").to_owned();
            let result = if run["verdict"] == run["expected"] {
                Ok(())
            } else {
                Err(anyhow::anyhow!("{run}"))
            };
            totals.check(
                &format!("{id}: {}, seed {}", text("solver"), run["seed"]),
                result,
            );
            rows.push([
                format!("{id} {}", run["version"]),
                machine.clone(),
                text("solver"),
                run["seed"].to_string(),
                text("verdict"),
                run["points"].to_string(),
                run["seconds"].to_string(),
                commit.trim().to_owned(),
            ]);
        }
        // After each, so that a run that is ended has written what it knows.
        write(rows)?;
    }
    Ok(())
}

/// The package's drills.
fn names(filter: Option<&str>, is_here: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let folder = paths::root().join("controller/scenarios");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|id| is_here(id) && filter.is_none_or(|part| id.contains(part)));
    names.sort_unstable();
    if names.is_empty() {
        bail!(
            "no drill of this lane has {:?} in its name",
            filter.unwrap_or("")
        );
    }
    Ok(names)
}

/// Puts rows in place of those of the same drill on the same kind of machine.
fn write(rows: Vec<Row>) -> Result<()> {
    let page = paths::root().join("docs/drills.md");
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let text = table::replaced(&text, rows)
        .with_context(|| format!("{} has no place for the table", page.display()))?;
    fs::write(&page, text).with_context(|| page.display().to_string())
}
