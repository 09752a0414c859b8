//! Assessed mode: a learner can take a drill, and does not find its answer in the obvious ways (docs/drills.md has others).

use std::{
    fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    command::{self, Ran},
    http,
    lab::{self, API_1, CONTROLLER, CTL, INJECTOR, INJECTOR_SOCKET, LOADGEN_SOCKET, UNITS},
    story::test,
    systemd, wait,
};

/// The drill that is looked for: its answer, and a sentence that only its sealed part has.
const DRILL: &str = "grey-loss";
const ANSWER: &str = "packet-loss";
const SENTENCE: &str = "Packets to api@1 were lost in bursts";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test("learner::takes_a_drill_with_the_tools_that_it_needs", takes),
        test("learner::cannot_read_the_answer_anywhere", reads),
        test(
            "learner::does_not_become_root_by_the_databases_setup",
            becomes_root_by_the_databases_setup,
        ),
    ]
}

/// A shell's line as the user `learner`.
fn learner(line: &str) -> Result<Ran> {
    command::run(&["runuser", "-u", "learner", "--", "sh", "-c", line])
}

fn works(line: &str) -> Result<String> {
    let ran = learner(line)?;
    ensure!(
        ran.code == 0,
        "`{line}` ends with {}: {}{}",
        ran.code,
        ran.stdout,
        ran.stderr
    );
    Ok(ran.stdout)
}

fn begin() -> Result<()> {
    works(&format!("{CTL} drill start {DRILL} --seed 5"))?;
    Ok(())
}

fn takes() -> Result<()> {
    begin()?;
    works(&format!("{CTL} drill status"))?;
    works(&format!("{CTL} drill hint"))?;
    works(&format!(
        "{CTL} drill diagnose --component api --mechanism network-latency --cause network --evidence kernel.tcp-rtt=api@1"
    ))?;
    let pid = lab::main_process(API_1)?.as_raw_nonzero();
    for line in [
        format!("sudo -n -u observastack-sut {CTL} config get api@1 database.pool_size"),
        format!("sudo -n -u observastack-sut {CTL} config set api@1 database.pool_size=11"),
        format!("sudo -n -u observastack-sut ls /proc/{pid}/fd"),
        format!("sudo -n -u observastack-sut timeout 2 strace -f -c -p {pid} || test $? = 124"),
        format!("sudo -n -u observastack-observer {CTL} --json syscalls --unit api@1 --for 1s"),
        "sudo -n -u observastack-postgresql psql -XAt -h /run/observastack/postgresql -p 5440 -U postgres -d shop -c 'select count(*) from pg_stat_activity'".to_owned(),
        "sudo -n systemctl restart observastack-api@2.service".to_owned(),
        "journalctl -n 5 -u observastack-api@1".to_owned(),
        "ss -tin".to_owned(),
        "tc -s qdisc show".to_owned(),
        "curl -sf http://127.0.0.1:9190/api/v1/query?query=up".to_owned(),
        format!("{CTL} logs --since 1m"),
    ] {
        works(&line)?;
    }
    let abort = learner(&format!("{CTL} drill abort"))?;
    ensure!(abort.code != 0, "a learner may abort");
    lab::abort_drill()
}

/// A run of the drill by an administrator, up to its debrief; its number.
fn proven() -> Result<u64> {
    lab::ctl(&["drill", "start", DRILL])?;
    let run = lab::wait_investigating()?["run"]
        .as_u64()
        .context("no run")?;
    let hint = learner(&format!("{CTL} drill hint"))?;
    ensure!(
        hint.code != 0,
        "a learner gets hints in somebody else's run"
    );
    lab::ctl(&["drill", "hint"])?;
    lab::ctl(&[
        "drill",
        "diagnose",
        "--component=api@1",
        "--cause=network",
        &format!("--mechanism={ANSWER}"),
    ])?;
    lab::ctl(&["drill", "give-up"])?;
    let entries = "t=$(cat /etc/observastack/learner.token); curl -sf -H \"authorization: Bearer $t\" http://127.0.0.1:8080/api/run/entries";
    let told = works(entries)?;
    ensure!(
        !told.contains(ANSWER) && !told.contains("\"hint\""),
        "somebody else's run tells {told}"
    );
    let report = lab::ctl_ran(&["drill", "report", "--run", &run.to_string()])?;
    report.expect(0)?;
    ensure!(
        report.stdout.contains(SENTENCE),
        "no debrief: {}",
        report.stdout
    );
    lab::ctl(&["drill", "reset"])?;
    lab::wait_no_drill()?;
    Ok(run)
}

/// What the database's own user puts into its directory is not run, read or followed as root.
fn becomes_root_by_the_databases_setup() -> Result<()> {
    const SETUP: &str = "observastack-postgresql-setup.service";
    const STATE: &str = "/var/lib/observastack/postgresql";
    const RAN: &str = "/etc/observastack/ran-as-root";
    const WRITTEN: &str = "/etc/observastack/written-as-root";
    let as_owner = |line: &str| {
        works(&format!(
            "sudo -n -u observastack-postgresql sh -c '{line}'"
        ))
    };
    as_owner(&format!(
        "cd {STATE} && mkdir -p x/bin && for p in postgres pg_controldata pg_isready psql pg_ctl; do printf \"#!/bin/sh\\ntouch {RAN}\\n\" > x/bin/$p; chmod 755 x/bin/$p; done"
    ))?;
    as_owner(&format!(
        "cd {STATE} && ln -sf {WRITTEN} setup.done && ln -sf {WRITTEN} setup.done.new && cp data/PG_VERSION kept && echo ../../..{STATE}/x > data/PG_VERSION"
    ))?;
    let ran = command::run(&["systemctl", "restart", SETUP])?;
    as_owner(&format!(
        "cd {STATE} && cat kept > data/PG_VERSION && rm -rf kept x setup.done setup.done.new"
    ))?;
    let found: Vec<&str> = [RAN, WRITTEN]
        .into_iter()
        .filter(|path| fs::remove_file(path).is_ok())
        .collect();
    command::output(&["systemctl", "reset-failed", SETUP])?;
    command::output(&[&["systemctl", "start", SETUP], &UNITS[..]].concat())?;
    lab::wait_healthy()?;
    ensure!(found.is_empty(), "root has made {found:?}");
    ensure!(ran.code != 0, "{SETUP} takes any version");
    Ok(())
}

/// Everything that is tried has to fail, or to say nothing.
fn reads() -> Result<()> {
    // Faults of other tests were no secret: what is left of them is not what is looked for.
    systemd::restart(INJECTOR)?;
    let query = "http://127.0.0.1:9190/api/v1/query?query=observastack_fault_active";
    wait::until_true(wait::SOON, "Prometheus has forgotten them", || {
        Ok(!http::curl(&[query])?.body.contains(ANSWER))
    })?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let begun = Instant::now();
    // Whoever keeps the lab has shown that the drill works, and its debrief is there.
    let earlier = proven()?;
    begin()?;
    ensure!(
        fs::metadata("/etc/observastack/scenarios")?.is_dir(),
        "there is no folder for the administrator's drills"
    );
    let controller = lab::main_process(CONTROLLER)?.as_raw_nonzero();
    let sealed = format!("/usr/lib/observastack/scenarios/{DRILL}/sealed.yaml");
    ensure!(
        fs::read_to_string(&sealed)?.contains(SENTENCE),
        "the sentence that is looked for is not in the drill"
    );
    for line in [
        format!("cat {sealed}"),
        format!("sudo -n cat {sealed}"),
        format!("sudo -n -u observastack-sut cat {sealed}"),
        format!("sudo -n -u observastack-postgresql cat {sealed}"),
        format!("sudo -n -u observastack-observer cat {sealed}"),
        format!("sudo -n -u observastack-controller cat {sealed}"),
        format!("sudo -n -u observastack-sut sudo -n cat {sealed}"),
        // The database's server runs as its own user, whose rights a superuser of it has.
        format!(
            "sudo -n -u observastack-postgresql psql -XAt -h /run/observastack/postgresql -p 5440 -U postgres -d shop -c \"select pg_read_file('{sealed}')\""
        ),
        format!("{CTL} drill validate /usr/lib/observastack/scenarios/{DRILL}"),
        format!("{CTL} drill plan /usr/lib/observastack/scenarios/{DRILL}"),
        format!("{CTL} drill report"),
        format!("{CTL} drill report --run {earlier}"),
        // A verb that works for everybody: what refuses it is sudo.
        format!("sudo -n -u observastack-observer {CTL} completions bash"),
        "cat /etc/observastack/tokens.json".to_owned(),
        "sudo -n -u observastack-sut cat /etc/observastack/tokens.json".to_owned(),
        "ls /var/lib/observastack/controller".to_owned(),
        "ls /var/lib/observastack/injector".to_owned(),
        "ls /etc/observastack/scenarios".to_owned(),
        format!("cat /proc/{controller}/environ"),
        format!("head -c 1 /proc/{controller}/mem"),
        format!("sudo -n -u observastack-sut strace -p {controller}"),
        format!("{CTL} faults"),
        format!("sudo -n -u observastack-sut {CTL} faults"),
        format!("sudo -n -u observastack-observer {CTL} faults"),
        format!("curl -sf --unix-socket {INJECTOR_SOCKET} http://x/faults"),
        format!("curl -sf --unix-socket {LOADGEN_SOCKET} http://x/v1/load"),
        "bpftool prog show | grep .".to_owned(),
        "sudo -n bpftool map show".to_owned(),
        "sudo -n -u observastack-observer bpftool map dump name rules".to_owned(),
    ] {
        let ran = learner(&line)?;
        ensure!(ran.code != 0, "`{line}` works: {}", ran.stdout);
    }
    // What may be read does not have it.
    let journal = format!(
        "journalctl --no-pager --output json --since @{since} -u observastack-injector -u observastack-controller -u observastack-guard"
    );
    ensure!(
        works(&journal)?.contains("injected"),
        "the journal has no line of an injected fault"
    );
    let logs = format!("{CTL} logs --since {}s", begun.elapsed().as_secs() + 1);
    ensure!(!works(&logs)?.is_empty(), "the collector has no logs");
    // `grep -l` and `find` name files, and each one is one too many.
    let grep = format!(
        "grep -rIls --exclude-dir=proc '{SENTENCE}' /etc /usr/lib/observastack /usr/share /var /run /tmp /home"
    );
    for (line, words) in [
        (journal.as_str(), ANSWER),
        (&logs, ANSWER),
        (&grep, "/"),
        ("find / -xdev -name sealed.yaml -readable", "/"),
        ("ps -eo args", ANSWER),
        ("curl -sf http://127.0.0.1:8301/metrics", ANSWER),
        (
            "curl -sf 'http://127.0.0.1:9190/api/v1/query?query=observastack_fault_active'",
            ANSWER,
        ),
        ("curl -sf http://127.0.0.1:9190/api/v1/alerts", ANSWER),
        (
            "systemctl list-units --all --no-legend 'observastack*'",
            ANSWER,
        ),
        ("observastack-ctl --json drill status", ANSWER),
        ("observastack-ctl --json drill list", ANSWER),
        ("observastack-ctl --json drill show grey-loss", ANSWER),
        (
            "t=$(cat /etc/observastack/learner.token); for p in drills run run/entries history; do curl -sf -H \"authorization: Bearer $t\" http://127.0.0.1:8080/api/$p || exit 9; done",
            ANSWER,
        ),
    ] {
        let ran = learner(line)?;
        ensure!(
            ran.code == 0 || words == "/",
            "`{line}` does not work: {}",
            ran.stderr
        );
        let found = ran.stdout.lines().find(|found| found.contains(words));
        ensure!(found.is_none(), "`{line}` says {found:?}");
    }
    ensure!(systemd::is_active(CONTROLLER)?, "{CONTROLLER} does not run");
    lab::abort_drill()
}
