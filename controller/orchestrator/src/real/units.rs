//! The shop's units, by systemd.

use std::{process::Stdio, time::Duration};

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

/// `start`, `restart` or `reset-failed`.
pub(super) async fn run(verb: &str, unit: &str) -> Result<(), LabError> {
    let what = format!("{verb} {unit}");
    let mut command = Command::new("systemctl");
    command
        .args(["--no-ask-password", verb, &full(unit)])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ran = tokio::time::timeout(TIMEOUT, command.output()).await;
    let output = match ran {
        Ok(output) => output.map_err(|error| failed(&what, error))?,
        Err(_) => return Err(failed(&what, "systemd takes too long")),
    };
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
    let state = state(unit).await?;
    Ok(["active", "activating", "reloading"].contains(&state.as_str()))
}

/// Its state, in systemd's word.
async fn state(unit: &str) -> Result<String, LabError> {
    let mut command = Command::new("systemctl");
    command
        .args(["is-active", &full(unit)])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await;
    match output {
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(Err(error)) => Err(failed(format!("is {unit} active"), error)),
        Err(_) => Err(failed(
            format!("is {unit} active"),
            "systemd takes too long",
        )),
    }
}
