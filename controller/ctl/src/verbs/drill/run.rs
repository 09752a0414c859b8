//! `drill run`: a whole drill without anybody, by a solver.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use observastack_spec::scenario::{
    Scenario,
    answer::{Cause, Component, Diagnosis, Mechanism},
    sealed::Repair,
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    SCENARIOS,
    controller::Controller,
    going::{ended, not_repaired, phase, until},
    scenario,
};
use crate::{failure::Failure, output};

/// The solver that does what the scenario's author says is right.
pub(super) const REFERENCE: &str = "reference";
/// Before the name of a repair that is none.
pub(super) const BAD_FIX: &str = "bad-fix:";

/// How long a repair's own command may take.
const COMMAND: Duration = Duration::from_secs(120);

/// Run a drill from its beginning to its end, by a solver, and judge it: exit code 0 for a pass, 1 for a fail, 3 where the time was up, 4 where the lab could
/// not do its part.
#[derive(Debug, Args)]
pub(crate) struct Headless {
    /// Its name.
    id: String,
    /// What repeats it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// `reference`, `noop`, `bad-fix:NAME`, or a command, which does its work with this program and ends.
    #[arg(long, value_name = "SOLVER")]
    solver: String,
    /// Where the scenarios are, for the solvers that know the answer.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = SCENARIOS
    )]
    scenarios: PathBuf,
    /// How long `noop` and a command may take, at most; the drill's own time if left out.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    within: Option<Duration>,
}

/// Runs it; the lab goes back to its baseline whatever comes of it.
pub(super) async fn run(
    headless: &Headless,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    let solver = Solver::of(headless)?;
    let Headless {
        id, seed, within, ..
    } = headless;
    let now = match taken(&solver, id, *seed, *within, controller).await? {
        Ok(taken) => taken.now,
        // Nobody was judged, which is not the same as a fail.
        Err(error) => {
            error.print(json);
            return Ok(ExitCode::from(code("lab-error")));
        }
    };
    let verdict = now["score"]["verdict"].as_str().unwrap_or("lab-error");
    if json {
        output::json(&json!({
            "drill": headless.id, "seed": headless.seed, "solver": headless.solver, "verdict": verdict,
            "score": now["score"], "outcome": now["run"]["life"]["outcome"],
        }));
    } else {
        output::line(ended(&now));
    }
    Ok(ExitCode::from(code(verdict)))
}

/// A drill that was taken.
pub(super) struct Taken {
    /// How it stood when it was judged.
    pub(super) now: Value,
    /// What did not hold when a repair was announced.
    pub(super) not_repaired: Option<String>,
}

/// Takes a drill; how it stood when it was judged, or why it was not. The lab is back at its baseline then.
pub(super) async fn taken(
    solver: &Solver,
    id: &str,
    seed: u64,
    within: Option<Duration>,
    controller: &Controller,
) -> Result<Result<Taken, Failure>, Failure> {
    let wish = json!({"id": id, "seed": seed});
    controller.say("/api/run", Some(&wish)).await?;
    let judged = judge(solver, within, controller).await;
    let not_repaired = match judged {
        Ok(_) => not_repaired(controller).await?,
        Err(_) => None,
    };
    let (reset, back) = match until(controller, |_| true).await {
        Ok(now) if phase(&now).is_empty() => (Ok(Value::Null), true),
        Ok(now) if phase(&now) == "debrief" => {
            (controller.say("/api/run/reset", None::<&()>).await, false)
        }
        // Already on its way back.
        Ok(now) if phase(&now) == "resetting" => (Ok(Value::Null), false),
        _ => (controller.say("/api/run/abort", None::<&()>).await, false),
    };
    reset?;
    if !back {
        until(controller, str::is_empty).await?;
    }
    Ok(judged.map(|now| Taken { now, not_repaired }))
}

fn code(verdict: &str) -> u8 {
    match verdict {
        "pass" => 0,
        "fail" => 1,
        "timeout" => 3,
        _ => 4,
    }
}

/// From the start to the debrief.
async fn judge(
    solver: &Solver,
    within: Option<Duration>,
    controller: &Controller,
) -> Result<Value, Failure> {
    let now = until(controller, |phase| {
        !["preparing", "breaking"].contains(&phase)
    })
    .await?;
    if phase(&now) != "investigating" {
        return Ok(now);
    }
    let solved = solver.solve(controller);
    match within {
        Some(within) => match tokio::time::timeout(within, solved).await {
            Ok(solved) => solved?,
            Err(_) => drop(controller.say("/api/run/give-up", None::<&()>).await),
        },
        None => solved.await?,
    }
    let now = until(controller, |phase| phase != "verifying").await?;
    if phase(&now) == "investigating" {
        // What was announced was no repair; nobody is left to try again.
        controller.say("/api/run/give-up", None::<&()>).await?;
    }
    until(controller, |phase| {
        ["debrief", "resetting", ""].contains(&phase)
    })
    .await
}

/// Who takes the drill.
pub(super) enum Solver {
    /// Does something, says what is wrong, and submits.
    Known {
        repair: Vec<Repair>,
        diagnosis: Diagnosis,
    },
    /// Waits for the end.
    Nothing,
    /// Does it all itself.
    Command(String),
}

impl Solver {
    /// Knows what is wrong, does nothing about it, and says that it is repaired. Where nothing is wrong that would be the solution: then it thinks that
    /// something is.
    pub(super) fn nothing(scenario: &Scenario) -> Self {
        let mut diagnosis = scenario.sealed.reference.diagnosis.value.clone();
        if diagnosis.component == Component::Nothing {
            diagnosis = Diagnosis {
                component: Component::Host,
                mechanism: Mechanism::CpuContention,
                cause: Cause::Neighbour,
                evidence: Vec::new(),
            };
        }
        Self::Known {
            repair: Vec::new(),
            diagnosis,
        }
    }

    fn of(headless: &Headless) -> Result<Self, Failure> {
        match headless.solver.as_str() {
            "noop" => Ok(Self::Nothing),
            solver if solver == REFERENCE || solver.starts_with(BAD_FIX) => {
                let folder = headless.scenarios.join(&headless.id);
                Self::known(&scenario(&folder)?, solver)
            }
            command => Ok(Self::Command(command.to_owned())),
        }
    }

    /// `reference`, or `bad-fix:NAME`, of this scenario.
    pub(super) fn known(scenario: &Scenario, solver: &str) -> Result<Self, Failure> {
        let sealed = &scenario.sealed;
        let repair = match solver.strip_prefix(BAD_FIX) {
            None => &sealed.reference.repair,
            Some(name) => {
                let fix = sealed.bad_fixes.get(name).ok_or_else(|| {
                    let names: Vec<&str> = sealed.bad_fixes.keys().map(String::as_str).collect();
                    Failure::Usage(format!(
                        "--solver: there is no bad fix `{name}`; there are {}",
                        names.join(", ")
                    ))
                })?;
                &fix.repair.value
            }
        };
        Ok(Self::Known {
            repair: repair.iter().map(|step| step.value.clone()).collect(),
            diagnosis: sealed.reference.diagnosis.value.clone(),
        })
    }

    async fn solve(&self, controller: &Controller) -> Result<(), Failure> {
        match self {
            Self::Nothing => until(controller, |phase| phase != "investigating")
                .await
                .map(drop),
            Self::Known { repair, diagnosis } => {
                for step in repair {
                    do_it(step).await?;
                }
                controller
                    .say("/api/run/diagnosis", Some(diagnosis))
                    .await?;
                controller.say("/api/run/submit", None::<&()>).await?;
                Ok(())
            }
            Self::Command(line) => command(&["sh", "-c", line], None, None).await,
        }
    }
}

/// As a learner would, with the same program.
async fn do_it(step: &Repair) -> Result<(), Failure> {
    match step {
        Repair::Config(config) => {
            let services: &[&str] = match config.service.as_str() {
                "api" => &["api@1", "api@2"],
                _ => &[config.service.as_str()],
            };
            let assignments: Vec<String> = config
                .set
                .iter()
                .map(|(field, value)| format!("{field}={value}"))
                .collect();
            let program = std::env::current_exe().unwrap_or_else(|_| "observastack-ctl".into());
            for service in services {
                let mut words = vec!["config", "set", service];
                words.extend(assignments.iter().map(String::as_str));
                command(&words, Some(&program), Some(COMMAND)).await?;
            }
            Ok(())
        }
        Repair::Restart(unit) => systemctl("restart", unit).await,
        Repair::Start(unit) => systemctl("start", unit).await,
        Repair::Stop(unit) => systemctl("stop", unit).await,
        Repair::Sql(statements) => {
            let connection =
                "host=/run/observastack/postgresql port=5440 dbname=shop user=postgres";
            command(
                &[
                    "psql",
                    "-XqAt",
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-d",
                    connection,
                    "-c",
                    statements,
                ],
                None,
                Some(COMMAND),
            )
            .await
        }
        Repair::Shell(line) => command(&["sh", "-c", line], None, Some(COMMAND)).await,
        Repair::Wait(time) => {
            tokio::time::sleep(time.get()).await;
            Ok(())
        }
    }
}

async fn systemctl(verb: &str, unit: &str) -> Result<(), Failure> {
    let full = format!("observastack-{unit}.service");
    command(&["systemctl", verb, &full], None, Some(COMMAND)).await
}

/// Runs a command; without a limit it takes as long as the drill does.
async fn command(
    words: &[&str],
    program: Option<&Path>,
    limit: Option<Duration>,
) -> Result<(), Failure> {
    let line = words.join(" ");
    let failed = |reason: String| Failure::Controller(format!("`{line}`: {reason}"));
    let mut command = match (program, words.split_first()) {
        (Some(program), _) => {
            let mut command = Command::new(program);
            command.args(words);
            command
        }
        (None, Some((first, rest))) => {
            let mut command = Command::new(first);
            command.args(rest);
            command
        }
        (None, None) => return Ok(()),
    };
    command.kill_on_drop(true);
    let output = match limit {
        Some(limit) => tokio::time::timeout(limit, command.output())
            .await
            .map_err(|_| failed(format!("takes more than {} s", limit.as_secs())))?,
        None => command.output().await,
    };
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(failed(words.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_have_their_exit_codes() {
        assert_eq!(
            ["pass", "fail", "timeout", "lab-error", "?"].map(code),
            [0, 1, 3, 4, 4]
        );
    }
}
