//! `inject -f`: faults that begin together, or not at all; and several on one unit.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::{self, ConnectProbe, FAULT, UdpEcho},
    lab::{self, API_1, API_2},
    machine::Machine,
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("fault_sets::all_faults_of_a_file_begin_together", together),
        test(
            "fault_sets::one_bad_entry_is_named_by_line_and_leaves_nothing",
            bad_entry,
        ),
        test(
            "fault_sets::one_fault_that_fails_takes_the_others_back",
            taken_back,
        ),
        test(
            "fault_sets::several_faults_on_one_unit_compose_in_the_stated_order",
            compose,
        ),
    ]
}

fn file(text: &str) -> Result<String> {
    let path = PathBuf::from(agents::DIRECTORY).join("faults.yaml");
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn inject(text: &str) -> Result<Vec<u64>> {
    let list = lab::ctl(&["inject", "-f", &file(text)?])?;
    let faults = list["faults"].as_array().context("no faults")?;
    let ids = faults.iter().map(|fault| fault["id"].as_u64());
    ids.collect::<Option<_>>().context("a fault without an id")
}

fn together() -> Result<()> {
    let (probe, echo) = (
        ConnectProbe::start("set", 9887)?,
        UdpEcho::start("set-echo", 9888)?,
    );
    let ids = inject(&format!(
        "# three at once
faults:
  - unit: {}
    fault: connect-error
    errno: {FAULT}
    for: 10m
  - {{unit: {}, fault: blackhole, for: 10m, direction: out}}
  - {{unit: {API_2}, fault: freeze, for: 10m}}
",
        probe.unit(),
        echo.unit()
    ))?;
    ensure!(ids.len() == 3, "{ids:?}");
    probe.wait_for(true, 20)?;
    ensure!(
        !echo.answers_within(Duration::from_millis(100))?,
        "the second fault does not act"
    );
    wait::until_true(wait::SOON, "the third acts", || {
        Ok(systemd::cgroup_value(API_2, "cgroup.events", "frozen")? == 1)
    })?;
    let cleared = lab::ctl(&["clear", "--all"])?;
    ensure!(
        cleared["faults"].as_array().map(Vec::len) == Some(3),
        "{cleared}"
    );
    ensure!(
        systemd::cgroup_value(API_2, "cgroup.events", "frozen")? == 0,
        "frozen after it was cleared"
    );
    ensure!(
        echo.answers_within(Duration::from_secs(1))?,
        "a black hole after it was cleared"
    );
    probe.wait_for(false, 20).map(drop)
}

fn bad_entry() -> Result<()> {
    let before = (Machine::now()?, lab::faults()?.len());
    for (text, words) in [
        (
            format!(
                "faults:
  - {{unit: {API_1}, fault: blackhole, for: 10m, port: 9}}
  - unit: sshd
    fault: latency
    for: 2h
    delay: soon
"
            ),
            &[
                "line 3, column 5: unit",
                "line 5, column 5: for",
                "line 6, column 5: delay",
            ][..],
        ),
        (
            format!("faults:\n  - {{unit: {API_1}, fault: earthquake, for: 1m}}\n"),
            &["line 2", "earthquake"],
        ),
        ("faults: []\n".to_owned(), &["0 entries"]),
    ] {
        let ran = lab::ctl_ran(&["inject", "-f", &file(&text)?])?;
        ran.expect(2)?;
        ran.says(words)?;
    }
    Machine::now()?.expect(&before.0)?;
    ensure!(
        lab::faults()?.len() == before.1,
        "faults are listed: {:?}",
        lab::faults()?
    );
    Ok(())
}

fn taken_back() -> Result<()> {
    let probe = ConnectProbe::start("set-back", 9889)?;
    let good = format!(
        "faults:
  - {{unit: {}, fault: connect-error, errno: {FAULT}, for: 10m}}
  - {{unit: {API_2}, fault: freeze, for: 10m}}
",
        probe.unit()
    );
    // Its fields are right, but there is no such unit.
    let bad = "  - {unit: observastack-nothing, fault: blackhole, for: 10m}\n";
    let ran = lab::ctl_ran(&["inject", "-f", &file(&format!("{good}{bad}"))?])?;
    ran.expect(2)?;
    ran.says(&["faults[2]", "observastack-nothing", "nothing of the set"])?;
    probe.wait_for(false, 20)?;
    ensure!(
        systemd::cgroup_value(API_2, "cgroup.events", "frozen")? == 0,
        "the second fault is left"
    );
    ensure!(
        lab::faults()?
            .iter()
            .all(|fault| fault["state"] != "active"),
        "faults are left: {:?}",
        lab::faults()?
    );
    Ok(())
}

fn compose() -> Result<()> {
    // The same packets under two faults: what the first lets pass the second still takes.
    let echo = UdpEcho::start("compose", 9890)?;
    let unit = echo.unit();
    let ids = inject(&format!(
        "faults:
  - {{unit: {unit}, fault: packet-loss, direction: out, every: 2, for: 10m}}
  - {{unit: {unit}, fault: packet-loss, direction: out, every: 5, for: 10m}}
  - {{unit: {unit}, fault: mtu-blackhole, direction: out, mtu: 1400, for: 10m}}
"
    ))?;
    let back = echo.exchange(1_000, 64)?;
    let counted: Vec<_> = ids
        .iter()
        .map(|id| {
            let fault = lab::fault(*id)?;
            Ok((
                lab::count(&fault, "matched")?,
                lab::count(&fault, "injected")?,
            ))
        })
        .collect::<Result<_>>()?;
    let injected: u64 = counted.iter().map(|(_, injected)| injected).sum();
    ensure!(
        back.len() as u64 == 1_000 - injected,
        "{} came back: {counted:?}",
        back.len()
    );
    ensure!(
        counted[0] == (1_000, 500) && counted[2].1 == 0,
        "matched and injected: {counted:?}"
    );
    ensure!(
        (100..=200).contains(&counted[1].1),
        "the second fault took {counted:?}"
    );
    let large = echo.exchange(100, 2_000)?;
    ensure!(large.is_empty(), "{} large ones came back", large.len());
    // One is taken away, the others stay.
    lab::clear(ids[2])?;
    let large = echo.exchange(1_000, 1_900)?;
    ensure!(
        (350..=450).contains(&large.len()),
        "{} of 1000 came back",
        large.len()
    );
    lab::ctl(&["clear", "--all"])?;
    ensure!(echo.exchange(200, 64)?.len() == 200, "answers are lost");
    Ok(())
}
