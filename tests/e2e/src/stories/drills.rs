//! Drills on the lab as it is: each breaks it, is repaired by its reference and by nothing else, and leaves nothing.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::controller::{API, token};
use crate::{
    command, figures, http,
    lab::{self, API_1, CONFIGURED, CONTROLLER, CTL, INJECTOR},
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
            "drills::one_begins_although_the_injector_was_stopped",
            stopped_injector,
        ),
        test(
            "drills::one_ends_although_systemd_has_given_a_unit_up",
            given_up,
        ),
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

/// As it is with nothing attached for a fault that is over: the injector lets go of that some seconds later.
fn idle_machine() -> Result<Machine> {
    systemd::restart(INJECTOR)?;
    lab::wait_healthy()?;
    Machine::now()
}

/// By its own proof: nothing and every bad fix fail, the reference passes, and what is left on the machine is what was there.
fn proven(id: &str) -> Result<()> {
    let before = idle_machine()?;
    let ran = command::run_for(LIMIT_S, &[CTL, "--json", "drill", "prove", id], "")?;
    let proof: Value = serde_json::from_str(&ran.stdout)
        .with_context(|| format!("{}: {}{}", ran.line, ran.stdout, ran.stderr))?;
    let mut wrong = Vec::new();
    for run in proof["runs"].as_array().context("no runs")? {
        figures::note(format!(
            "{id}, {}: {} with {} points of the diagnosis after {} s",
            run["solver"], run["verdict"], run["points"], run["seconds"]
        ));
        if run["verdict"] != run["expected"] {
            wrong.push(run.to_string());
        }
    }
    ensure!(lab::drill()?.is_null(), "a run goes on");
    // Before anything else is said: the next story begins with this machine.
    before.comes_back()?;
    ensure!(
        ran.code == 0 && proof["proven"] == true,
        "{}",
        wrong.join("\n")
    );
    Ok(())
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
    let before = idle_machine()?;
    start("grey-loss", 3)?;
    let run = lab::wait_investigating()?;
    systemd::kill_9(CONTROLLER)?;
    wait::until_true(wait::SOON, "the controller answers again", || {
        Ok(lab::ctl_ran(&["drill", "status"])?.code == 0)
    })?;
    let now = lab::drill()?;
    ensure!(
        run["run"].is_u64() && now["run"] == run["run"] && now["life"]["phase"] == "investigating",
        "it was {run}, it is {now}"
    );
    lab::abort_drill()?;
    before.comes_back()
}

fn stopped_injector() -> Result<()> {
    let before = idle_machine()?;
    systemd::stop(INJECTOR)?;
    start("grey-loss", 2)?;
    lab::wait_investigating()?;
    ensure!(systemd::is_active(INJECTOR)?, "the injector does not run");
    lab::abort_drill()?;
    before.comes_back()
}

fn given_up() -> Result<()> {
    let before = idle_machine()?;
    // Sooner than 20 starts in a minute, which a slow machine may not do.
    systemd::drop_in(
        API_1,
        "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=600\n",
    )?;
    start("grey-loss", 4)?;
    lab::wait_investigating()?;
    wait::until_true(wait::SOON, "systemd starts the unit no more", || {
        Ok(command::run(&["systemctl", "restart", API_1])?.code != 0)
    })?;
    ensure!(!systemd::is_active(API_1)?, "{API_1} runs");
    lab::abort_drill()?;
    ensure!(systemd::is_active(API_1)?, "{API_1} does not run");
    systemd::remove_drop_ins()?;
    lab::wait_healthy()?;
    before.comes_back()
}

/// When a drill is aborted.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// While it is prepared.
    Preparing,
    /// As soon as something may be broken.
    Broken,
    /// In the learner's time.
    Investigating,
}

/// The services' configurations.
fn configurations() -> Result<Vec<Value>> {
    CONFIGURED
        .iter()
        .map(|(service, _, _)| Ok(lab::config(service)?["config"].clone()))
        .collect()
}

fn aborted() -> Result<()> {
    let before = idle_machine()?;
    let configured = configurations()?;
    ensure!(
        configured.iter().all(Value::is_object),
        "no configurations: {configured:?}"
    );
    let moments = [
        Moment::Investigating,
        Moment::Broken,
        Moment::Preparing,
        Moment::Investigating,
    ];
    for (number, (name, moment)) in names()?.iter().zip(moments.iter().cycle()).enumerate() {
        start(name, number as u64 + 1)?;
        match moment {
            Moment::Preparing => thread::sleep(Duration::from_millis(700)),
            Moment::Broken => wait::until_true(wait::SOON, "something may be broken", || {
                Ok(lab::drill()?["life"]["phase"] != "preparing")
            })?,
            Moment::Investigating => drop(lab::wait_investigating()?),
        }
        lab::abort_drill()?;
        ensure!(
            configurations()? == configured,
            "{name} has left a configuration ({moment:?})"
        );
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
