//! The shop's units, by systemd.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use tokio::process::Command;

use super::failed;
use crate::lab::LabError;

/// What must run for there to be a shop, by short names.
pub(super) const SHOP: [&str; 6] = [
    "postgresql",
    "inventory",
    "api@1",
    "api@2",
    "worker",
    "gateway",
];
/// What drills are made with.
pub(super) const CONTROL: [&str; 2] = ["injector", "loadgen"];
/// What shows how the shop is.
pub(super) const TELEMETRY: [&str; 3] = ["collector", "observer", "prometheus"];

/// How long systemd may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The unit's full name.
fn full(unit: &str) -> String {
    format!("observastack-{unit}.service")
}

/// What systemd's own program says to these words, in the time that it may take.
async fn systemctl(what: &str, arguments: &[&str]) -> Result<Output, LabError> {
    let mut command = Command::new("systemctl");
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(TIMEOUT, command.output()).await {
        Ok(output) => output.map_err(|error| failed(what, error)),
        Err(_) => Err(failed(what, "systemd takes too long")),
    }
}

/// `start`, `restart` or `reset-failed`.
pub(super) async fn run(verb: &str, unit: &str) -> Result<(), LabError> {
    let what = format!("{verb} {unit}");
    let output = systemctl(&what, &["--no-ask-password", verb, &full(unit)]).await?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(failed(&what, words.trim()))
}

/// Starts it, where it does not run.
pub(super) async fn be_started(unit: &str) -> Result<(), LabError> {
    if is_active(unit).await? {
        return Ok(());
    }
    // Given up by systemd, after it has ended too often (StartLimitBurst=): it would not be started once more.
    if state(unit).await? == "failed" {
        run("reset-failed", unit).await?;
    }
    run("start", unit).await
}

/// Whether it runs, or is about to again: somebody who restarts a unit has not stopped it.
pub(super) async fn is_active(unit: &str) -> Result<bool, LabError> {
    Ok(inactive(&[unit]).await?.is_empty())
}

/// What of the shop, and of what shows how it is, does not run.
pub(super) async fn stopped() -> Result<Vec<&'static str>, LabError> {
    inactive(&[&SHOP[..], &TELEMETRY].concat()).await
}

/// Those that do not run, as [`is_active`] has it. One look at all of them: a process for each, twice a second, is work that a small machine notices.
async fn inactive<'a>(units: &[&'a str]) -> Result<Vec<&'a str>, LabError> {
    let states = states(units).await?;
    let runs = |state: &str| ["active", "activating", "reloading"].contains(&state);
    let each = units.iter().zip(states);
    Ok(each
        .filter(|(_, state)| !runs(state))
        .map(|(unit, _)| *unit)
        .collect())
}

/// Its state, in systemd's word.
async fn state(unit: &str) -> Result<String, LabError> {
    Ok(states(&[unit]).await?.concat())
}

/// Their states, one for each.
async fn states(units: &[&str]) -> Result<Vec<String>, LabError> {
    let what = format!("is {} active", units.join(", "));
    let names: Vec<String> = units.iter().map(|unit| full(unit)).collect();
    let names = names.iter().map(String::as_str);
    let arguments: Vec<&str> = ["is-active", "--"].into_iter().chain(names).collect();
    let output = systemctl(&what, &arguments).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let states: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    if states.len() != units.len() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&what, format!("{}{}", text.trim(), words.trim())));
    }
    Ok(states)
}
