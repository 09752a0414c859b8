//! `drill prove`: whether a drill is one: it breaks, nothing that is no repair repairs it, and its reference does.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use clap::Args;
use observastack_spec::scenario::Scenario;
use serde::Serialize;
use serde_json::json;

use super::{
    SCENARIOS,
    controller::Controller,
    run::{BAD_FIX, REFERENCE, Solver, Taken, taken},
    scenario,
};
use crate::{failure::Failure, output};

/// Who knows what is wrong, and does nothing about it.
const NOTHING: &str = "nothing";

/// Prove drills on this lab: doing nothing and every known bad fix fail, and the reference passes, each from a verified baseline to a verified baseline. Exit code
/// 1 where one of them is otherwise.
#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// Their names.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Seeds that the reference has to pass with; the others are tried with the first one.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1")]
    seeds: Vec<u64>,
    /// Where the scenarios are.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = SCENARIOS
    )]
    scenarios: PathBuf,
}

/// One run.
#[derive(Debug, Serialize)]
struct Proof {
    drill: String,
    version: u32,
    solver: String,
    seed: u64,
    /// What the verdict has to be.
    expected: &'static str,
    verdict: String,
    /// Of the diagnosis.
    points: u64,
    seconds: u64,
    /// Why it was no repair, or what the lab could not do.
    reason: Option<String>,
}

impl Proof {
    fn is_right(&self) -> bool {
        self.verdict == self.expected
    }
}

/// Runs everything that has to be shown of each.
pub(super) async fn run(
    prove: &Prove,
    controller: &Controller,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut proofs = Vec::new();
    for id in &prove.ids {
        let scenario = scenario(&prove.scenarios.join(id))?;
        for (solver, seed, expected) in runs(&scenario, &prove.seeds) {
            let proof = one(&scenario, &solver, seed, expected, controller).await?;
            if !json {
                output::line(line(&proof));
            }
            proofs.push(proof);
        }
    }
    let is_proven = proofs.iter().all(Proof::is_right);
    if json {
        output::json(&json!({"proven": is_proven, "runs": proofs}));
    }
    Ok(if is_proven {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What is tried, with which seed, and what has to come of it.
fn runs(scenario: &Scenario, seeds: &[u64]) -> Vec<(String, u64, &'static str)> {
    let first = seeds.first().copied().unwrap_or(1);
    let bad = scenario.sealed.bad_fixes.keys();
    let bad = bad.map(|name| (format!("{BAD_FIX}{name}"), first, "fail"));
    let good = seeds
        .iter()
        .map(|seed| (REFERENCE.to_owned(), *seed, "pass"));
    std::iter::once((NOTHING.to_owned(), first, "fail"))
        .chain(bad)
        .chain(good)
        .collect()
}

async fn one(
    scenario: &Scenario,
    solver: &str,
    seed: u64,
    expected: &'static str,
    controller: &Controller,
) -> Result<Proof, Failure> {
    let id = scenario.brief.id.to_string();
    let began = Instant::now();
    let how = match solver {
        NOTHING => Solver::nothing(scenario),
        _ => Solver::known(scenario, solver)?,
    };
    let (verdict, points, reason) = match taken(&how, &id, seed, None, controller).await? {
        Ok(taken) => judged(&taken),
        Err(error) => ("lab-error".to_owned(), 0, Some(error.to_string())),
    };
    Ok(Proof {
        drill: id,
        version: *scenario.brief.version,
        solver: solver.to_owned(),
        seed,
        expected,
        verdict,
        points,
        seconds: began.elapsed().as_secs(),
        reason,
    })
}

/// Verdict, points of the diagnosis, and what was said against it.
fn judged(taken: &Taken) -> (String, u64, Option<String>) {
    let now = &taken.now;
    let score = &now["score"];
    let verdict = score["verdict"].as_str().unwrap_or("lab-error").to_owned();
    let points = ["component", "mechanism", "cause", "evidence"]
        .iter()
        .filter_map(|part| score["diagnosis"][part].as_u64())
        .sum();
    let mitigation = score["parts"]
        .as_array()
        .and_then(|parts| parts.iter().find(|part| part["name"] == "mitigation"));
    let why = || mitigation.and_then(|part| part["why"].as_str().map(str::to_owned));
    let check = taken.not_repaired.as_ref();
    let reason = (verdict != "pass").then(|| {
        check
            .map(|check| format!("did not hold: {check}"))
            .or_else(why)
            .unwrap_or_else(|| now["run"]["life"]["outcome"].to_string())
    });
    (verdict, points, reason)
}

fn line(proof: &Proof) -> String {
    let mark = if proof.is_right() { "ok" } else { "NOT PROVEN" };
    let reason = proof.reason.as_deref().unwrap_or_default();
    format!(
        "{}: {} (seed {}): {}, diagnosis {}, after {} s: {mark} {reason}",
        proof.drill, proof.solver, proof.seed, proof.verdict, proof.points, proof.seconds
    )
}
