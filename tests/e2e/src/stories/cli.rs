//! The command line's smaller verbs, as installed.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command,
    lab::{self, CTL},
    story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "cli::doctor_says_what_this_kernel_can_do_and_why_not",
            doctor,
        ),
        test(
            "cli::status_fails_while_something_is_down_and_names_it",
            status,
        ),
        test(
            "cli::completions_and_man_pages_are_installed_and_valid",
            documentation,
        ),
    ]
}

fn doctor() -> Result<()> {
    let report = lab::doctor()?;
    let kernel = command::output(&["uname", "-r"])?;
    ensure!(report["kernel"] == kernel.trim(), "{report}");
    let list = |name: &str| {
        report[name]
            .as_array()
            .cloned()
            .with_context(|| format!("no {name}"))
    };
    for capability in list("capabilities")? {
        let reason = capability["reason"].as_str().unwrap_or_default();
        ensure!(
            capability["answer"] == "yes" || !reason.is_empty(),
            "{capability} gives no reason"
        );
    }
    for wanted in ["packet-loss", "connect-error"] {
        let found = list("faults")?
            .into_iter()
            .find(|fault| fault["fault"] == wanted);
        let fault = found.with_context(|| format!("doctor does not know {wanted}"))?;
        ensure!(
            fault["answer"] == "yes"
                && fault["needs"]
                    .as_array()
                    .is_some_and(|needs| !needs.is_empty()),
            "{fault}"
        );
    }
    let ran = command::run(&[CTL, "doctor"])?;
    ensure!(
        ran.stdout.contains("packet-loss") && ran.stdout.contains("CAPABILITY"),
        "{}",
        ran.stdout
    );
    Ok(())
}

fn status() -> Result<()> {
    crate::systemd::stop(lab::INVENTORY)?;
    let ran = lab::ctl_ran(&["status"])?;
    ran.expect(1)?;
    let status: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    ensure!(status["healthy"] == false, "{status}");
    let down = |unit: &&serde_json::Value| unit["unit"] == lab::INVENTORY;
    let shown = status["units"]
        .as_array()
        .into_iter()
        .flatten()
        .find(down)
        .context("the unit is not shown")?;
    ensure!(
        shown["active"] == "inactive" && shown["health"] == "unreachable",
        "{shown}"
    );
    Ok(())
}

fn documentation() -> Result<()> {
    for (shell, check) in [("bash", "bash -n"), ("zsh", "cat"), ("fish", "cat")] {
        let script = command::output(&[CTL, "completions", shell])?;
        ensure!(
            script.contains("packet-loss"),
            "{shell}'s completions don't know packet-loss"
        );
        let checked =
            command::run_with_input(&["sh", "-c", &format!("{check} > /dev/null")], &script)?;
        checked.expect(0)?;
    }
    let installed = "/usr/share/bash-completion/completions/observastack-ctl";
    ensure!(Path::new(installed).is_file(), "{installed} is missing");
    let page = command::output(&["man", "--where", "observastack-ctl"])?;
    ensure!(
        page.trim().ends_with("observastack-ctl.1.gz"),
        "man finds {page}"
    );
    // As a file: man keeps a copy of a page that it looked up by name, and that would stay on the machine.
    let page = command::output(&["man", "--where", "observastack-ctl-inject"])?;
    let text = command::output(&["man", "--local-file", page.trim()])?;
    ensure!(
        text.contains("observastack-ctl") && text.contains("packet-loss"),
        "{text}"
    );
    Ok(())
}
