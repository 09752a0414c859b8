//! `--dry-run`: every step is told, and nothing is done.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents, command,
    lab::{self, API_2, CTL},
    machine::Machine,
    story::test,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("dry_run::each_fault_tells_its_steps_and_does_nothing", each),
        test(
            "dry_run::a_file_is_told_entry_by_entry_and_nothing_is_done",
            file,
        ),
        test("dry_run::what_would_be_refused_is_refused", refused),
    ]
}

/// Every fault that this machine can have, with arguments, and a word of its steps.
const FAULTS: [(&str, &[&str], &str); 10] = [
    (
        "packet-loss",
        &["--probability", "20%"],
        "write a rule of packet-loss",
    ),
    (
        "blackhole",
        &["--direction", "out"],
        "write a rule of packet-loss",
    ),
    (
        "mtu-blackhole",
        &["--mtu", "1400"],
        "write a rule of mtu-blackhole",
    ),
    (
        "connect-error",
        &["--errno", "ECONNREFUSED"],
        "write a rule of connect-error",
    ),
    (
        "bind-error",
        &["--errno", "EADDRINUSE"],
        "write a rule of bind-error",
    ),
    (
        "slow-receiver",
        &["--window", "0"],
        "write a rule of slow-receiver",
    ),
    (
        "signal",
        &["--signal", "KILL", "--call", "write"],
        "write a rule of signal",
    ),
    ("cpu-stress", &["--workers", "2"], "keep up"),
    ("freeze", &["--period", "1s"], "arm a systemd timer"),
    ("unit", &["--action", "stop"], "arm a systemd timer"),
];

fn each() -> Result<()> {
    let (before, known) = (Machine::now()?, lab::faults()?);
    let process = lab::main_process(API_2)?;
    for (kind, more, word) in FAULTS {
        let words = ["inject", kind, "--unit", API_2, "--for", "10m", "--dry-run"];
        let answer = lab::ctl(&[&words[..], more].concat())?;
        ensure!(
            answer["supported"] == "yes" && answer["spec"]["unit"] == API_2,
            "{answer}"
        );
        let steps = answer["steps"].as_array().context("no steps")?;
        ensure!(
            steps
                .iter()
                .any(|step| step.as_str().is_some_and(|step| step.contains(word))),
            "{kind}: no step says {word}: {answer}"
        );
        let ran = command::run(&[&[CTL][..], &words[..], more].concat())?;
        ran.expect(0)?;
        ensure!(
            ran.stdout.contains("would inject") && ran.stdout.contains("  1. "),
            "{}",
            ran.stdout
        );
    }
    Machine::now()?.expect(&before)?;
    ensure!(
        lab::main_process(API_2)? == process,
        "the unit was restarted"
    );
    ensure!(
        lab::faults()? == known,
        "faults are listed: {:?}",
        lab::faults()?
    );
    Ok(())
}

fn file() -> Result<()> {
    let path = format!("{}/dry.yaml", agents::DIRECTORY);
    fs::write(
        &path,
        format!(
            "faults:
  - {{unit: {API_2}, fault: freeze, for: 10m}}
  - {{unit: {API_2}, fault: unit, action: stop, for: 10m}}
"
        ),
    )?;
    let before = Machine::now()?;
    let answers = lab::ctl(&["inject", "-f", &path, "--dry-run"])?;
    let answers = answers.as_array().context("no list")?;
    ensure!(
        answers.len() == 2 && answers.iter().all(|answer| answer["supported"] == "yes"),
        "{answers:?}"
    );
    Machine::now()?.expect(&before)
}

fn refused() -> Result<()> {
    for (words, code, says) in [
        (
            &[
                "blackhole",
                "--unit",
                "observastack-nothing",
                "--for",
                "10s",
            ][..],
            2,
            "there is no unit",
        ),
        (
            &["blackhole", "--unit", "ssh", "--for", "10s"],
            2,
            "way into",
        ),
        (
            &["blackhole", "--unit", API_2, "--for", "2h"],
            2,
            "100ms to 1h",
        ),
    ] {
        let ran = lab::ctl_ran(&[&["inject"], words, &["--dry-run"]].concat())?;
        ran.expect(code)?;
        ran.says(&[says])?;
    }
    Ok(())
}
