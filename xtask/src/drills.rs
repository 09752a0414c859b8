//! `cargo xtask test drills`: every drill that the package brings, proven in a lab of its own, and the table of docs/drills.md.

use std::{fs, io::Write as _};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::machine::{Name, State};
use crate::results::Totals;
use crate::run::Run;
use crate::{e2e, paths, playbook};

/// Seeds that a reference has to pass with.
const SEEDS: &str = "1,2,3";
/// One drill with all of its solvers and seeds.
const LIMIT_S: u64 = 1800;
/// The table is between these two lines of the page.
const BEGIN: &str = "<!-- proven: written by cargo xtask test drills -->";
const END: &str = "<!-- end of what was proven -->";

/// Makes a lab, proves every drill that this machine can do, and writes down what came of it.
pub(crate) fn run(keep: bool) -> Result<Totals> {
    e2e::in_machine("drills", &[], keep, |name, state, deb, totals| {
        playbook::install(name, state, deb, "playbook install.yml")?;
        prove(name, state, totals)
    })
}

fn prove(name: Name, state: &State, totals: &mut Totals) -> Result<()> {
    let mut rows = Vec::new();
    for id in names()? {
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
            if words.contains("this machine cannot do") {
                rows.push(format!("| {id} | - | - | not on this machine | - | - |"));
                println!("test {id} ... skipped: {words}");
                totals.skipped += 1;
                continue;
            }
            totals.fail(&id, &words);
            continue;
        };
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
            rows.push(format!(
                "| {id} {} | {} | {} | {} | {} | {} |",
                run["version"],
                text("solver"),
                run["seed"],
                text("verdict"),
                run["points"],
                run["seconds"]
            ));
        }
    }
    let kernel = state
        .ssh(name, "uname -r")
        .limit_s(30)
        .output()
        .context("the kernel's release")?;
    write(kernel.trim(), &rows)
}

/// The package's drills.
fn names() -> Result<Vec<String>> {
    let folder = paths::root().join("controller/scenarios");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Replaces the table.
fn write(kernel: &str, rows: &[String]) -> Result<()> {
    let page = paths::root().join("docs/drills.md");
    let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let (Some((before, rest)), true) = (text.split_once(BEGIN), text.contains(END)) else {
        bail!("{} has no place for the table", page.display());
    };
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    let commit = Run::new("git")
        .args(["rev-parse", "--short=10", "HEAD"])
        .limit_s(60)
        .output()?;
    let mut file = fs::File::create(&page)?;
    write!(
        file,
        "{before}{BEGIN}\n\nCommit {commit}, kernel {kernel}, in a machine under systemd-nspawn.\n\n\
         | drill | solver | seed | verdict | diagnosis | seconds |\n|---|---|---|---|---|---|\n{}\n\n{END}{after}",
        rows.join("\n")
    )?;
    Ok(())
}
