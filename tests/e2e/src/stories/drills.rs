//! Drills on the lab as it is: each breaks it, is repaired by its reference and by nothing else, and leaves nothing.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::controller::{API, token};
use crate::{
    command, figures, http,
    lab::{self, CONTROLLER, CTL},
    machine::Machine,
    story::test,
    systemd, wait,
};

/// Where the package has them.
const SCENARIOS: &str = "/usr/lib/observastack/scenarios";

/// For all runs of one drill.
const LIMIT_S: u32 = 600;

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("drills::all_of_the_package_can_be_taken", known),
        test("drills::grey_loss_is_proven", || proven("grey-loss")),
        test("drills::db_lock_holder_is_proven", || {
            proven("db-lock-holder")
        }),
        test("drills::stale_secret_is_proven", || proven("stale-secret")),
        test("drills::all_quiet_is_proven", || proven("all-quiet")),
        test("drills::one_outlives_its_controller", outlives),
        test(
            "drills::aborted_at_any_moment_they_leave_the_machine_as_it_was",
            aborted,
        ),
    ]
}

/// Their names, by the package's folders.
fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in fs::read_dir(SCENARIOS)? {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    ensure!(!names.is_empty(), "{SCENARIOS} is empty");
    Ok(names)
}

fn known() -> Result<()> {
    let mut listed: Vec<String> = Vec::new();
    for drill in lab::ctl(&["drill", "list"])?
        .as_array()
        .context("no list")?
    {
        listed.push(drill["id"].as_str().context("no id")?.to_owned());
    }
    listed.sort_unstable();
    ensure!(listed == names()?, "the controller knows {listed:?}");
    for name in listed {
        let folder = format!("{SCENARIOS}/{name}");
        command::output(&[CTL, "drill", "validate", &folder])?;
        command::output(&[CTL, "drill", "plan", &folder, "--seed", "7"])?;
    }
    Ok(())
}

/// By its own proof: nothing and every bad fix fail, the reference passes, and what is left on the machine is what was there.
fn proven(id: &str) -> Result<()> {
    lab::wait_healthy()?;
    let before = Machine::now()?;
    let ran = command::run_for(LIMIT_S, &[CTL, "--json", "drill", "prove", id], "")?;
    let proof: Value = serde_json::from_str(&ran.stdout)
        .with_context(|| format!("{}: {}{}", ran.line, ran.stdout, ran.stderr))?;
    for run in proof["runs"].as_array().context("no runs")? {
        figures::note(format!(
            "{id}, {}: {} with {} points of the diagnosis after {} s",
            run["solver"], run["verdict"], run["points"], run["seconds"]
        ));
    }
    ensure!(ran.code == 0 && proof["proven"] == true, "{proof:#}");
    ensure!(lab::drill()?.is_null(), "a run goes on");
    before.comes_back()
}

fn is_investigating(run: &Value) -> bool {
    run["life"]["phase"] == "investigating"
}

fn start(id: &str, seed: u64) -> Result<()> {
    let body = format!(r#"{{"id": "{id}", "seed": {seed}}}"#);
    let url = format!("{API}/api/run");
    let kind = "content-type: application/json";
    let token = token("learner")?;
    let answer = http::curl(&["-H", &token, "-H", kind, "-d", &body, &url])?;
    answer.expect(201)?;
    Ok(())
}

fn outlives() -> Result<()> {
    let before = Machine::now()?;
    start("grey-loss", 3)?;
    wait::until_true(wait::SOON, "the incident has begun", || {
        Ok(is_investigating(&lab::drill()?))
    })?;
    let run = lab::drill()?;
    systemd::kill_9(CONTROLLER)?;
    wait::until_true(wait::SOON, "the controller answers again", || {
        Ok(lab::ctl_ran(&["drill", "status"])?.code == 0)
    })?;
    let now = lab::drill()?;
    ensure!(
        run["run"].is_u64() && now["run"] == run["run"] && is_investigating(&now),
        "it was {run}, it is {now}"
    );
    lab::abort_drill()?;
    before.comes_back()
}

fn aborted() -> Result<()> {
    let before = Machine::now()?;
    let names = names()?;
    // Other moments each time, spread over what comes before and after the break.
    for (number, name) in names.iter().cycle().take(6.max(names.len())).enumerate() {
        start(name, number as u64 + 1)?;
        thread::sleep(Duration::from_millis(700 * (number as u64 * 7 % 11)));
        lab::abort_drill()?;
        ensure!(
            lab::faults()?
                .iter()
                .all(|fault| fault["state"] != "active"),
            "{name} has left a fault"
        );
    }
    lab::wait_healthy()?;
    before.comes_back()
}
