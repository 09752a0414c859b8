//! `signal`: at the nth system call, as dd's own output and systemd's word show.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{
    agents::{self, Script},
    command, journal,
    lab::{self, INVENTORY},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "signal::a_process_is_killed_at_the_nth_call_and_systemd_says_by_what",
            kills,
        ),
        test(
            "signal::a_signal_that_does_not_kill_is_sent_as_often_as_asked",
            often,
        ),
        test(
            "signal::a_service_of_the_lab_is_started_again_after_it",
            service,
        ),
        test("signal::it_is_gone_after_clear_expiry_and_kill", ends),
    ]
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(agents::DIRECTORY).join(name)
}

/// dd, which writes so many single bytes once it is told to go.
struct Dd {
    script: Script,
    go: PathBuf,
    output: PathBuf,
}

impl Dd {
    fn ready(name: &str, count: u32) -> Result<Self> {
        let (go, output) = (file(&format!("{name}.go")), file(&format!("{name}.out")));
        let text = format!(
            "until [ -e {} ]; do sleep 0.05; done; exec dd if=/dev/zero of={} bs=1 count={count}",
            go.display(),
            output.display()
        );
        Ok(Self {
            script: Script::start(name, &text)?,
            go,
            output,
        })
    }

    /// Lets it go, and waits until it has ended; how many bytes it has written.
    fn run(&self) -> Result<u64> {
        fs::write(&self.go, "")?;
        wait::until_true(wait::SOON, "dd has ended", || {
            Ok(systemd::property(self.script.unit(), "MainPID")? == "0")
        })?;
        Ok(fs::metadata(&self.output)?.len())
    }
}

fn inject(unit: &str, signal: &str, call: &str, more: &[&str]) -> Result<u64> {
    let words = ["signal", "--unit", unit, "--signal", signal, "--call", call];
    lab::inject(&[&words[..], more].concat())
}

fn kills() -> Result<()> {
    let (dd, bystander) = (Dd::ready("dd", 3_000)?, Dd::ready("dd-bystander", 3_000)?);
    let id = inject(
        dd.script.unit(),
        "KILL",
        "write",
        &["--after", "1000", "--for", "10m"],
    )?;
    let mark = journal::mark()?;
    let written = dd.run()?;
    ensure!(
        bystander.run()? == 3_000,
        "the bystander has not written everything"
    );
    // The signal comes with the 1001st call, which may still be done.
    ensure!(
        (1_000..=1_001).contains(&written),
        "it was killed after {written} bytes"
    );
    mark.wait_for(dd.script.unit(), "what has killed it", |record| {
        journal::message(record).contains("code=killed, status=9/KILL")
    })?;
    for (property, value) in [
        ("Result", "signal"),
        ("ExecMainCode", "2"),
        ("ExecMainStatus", "9"),
    ] {
        let found = systemd::property(dd.script.unit(), property)?;
        ensure!(found == value, "{property} is {found}");
    }
    let found = systemd::property(bystander.script.unit(), "Result")?;
    ensure!(found == "success", "the bystander's result is {found}");
    let ended = lab::clear(id)?;
    ensure!(
        lab::count(&ended, "matched")? == 1_001 && lab::count(&ended, "injected")? == 1,
        "{ended}"
    );
    Ok(())
}

fn often() -> Result<()> {
    let dd = Dd::ready("dd-often", 2_000)?;
    let id = inject(
        dd.script.unit(),
        "USR1",
        "write",
        &[
            "--after", "99", "--every", "100", "--max", "5", "--for", "10m",
        ],
    )?;
    let mark = journal::mark()?;
    ensure!(dd.run()? == 2_000, "dd has not written everything");
    // dd tells how far it is at each SIGUSR1; and at its end.
    let unit = dd.script.unit();
    let told = wait::until(wait::SOON, "dd tells its end", || {
        let records = mark.records(unit)?;
        let told: Vec<String> = records
            .iter()
            .map(|record| journal::message(record).to_owned())
            .filter(|text| text.ends_with("records in"))
            .collect();
        Ok(told
            .contains(&"2000+0 records in".to_owned())
            .then_some(told))
    })?;
    let ended = lab::clear(id)?;
    // dd writes to its standard error too, with a call that counts: at most three for each report.
    ensure!(
        told.len() == 6 && lab::count(&ended, "injected")? == 5,
        "{told:?}, {ended}"
    );
    Ok(())
}

fn service() -> Result<()> {
    let before = lab::main_process(INVENTORY)?;
    let restarts: u32 = systemd::property(INVENTORY, "NRestarts")?.parse()?;
    let mark = journal::mark()?;
    let id = inject(
        INVENTORY,
        // A Rust program takes the first SIGSEGV for a full stack, and goes on.
        "ABRT",
        "epoll_wait",
        &["--after", "5", "--for", "10m"],
    )?;
    mark.wait_for(INVENTORY, "what has killed it", |record| {
        let message = journal::message(record);
        message.contains("status=6/ABRT")
    })?;
    systemd::wait_restarted(INVENTORY, before)?;
    let after: u32 = systemd::property(INVENTORY, "NRestarts")?.parse()?;
    ensure!(
        after == restarts + 1,
        "restarted {} times",
        after - restarts
    );
    // Once: the new process makes the same calls.
    lab::wait_healthy()?;
    let ended = lab::clear(id)?;
    ensure!(
        lab::count(&ended, "injected")? == 1 && lab::count(&ended, "matched")? > 6,
        "{ended}"
    );
    Ok(())
}

/// A loop that makes a call which fails at once while signals come, and counts them.
fn ends() -> Result<()> {
    let counter = file("signals");
    let text = format!(
        "n=0; trap 'n=$((n+1)); echo $n > {0}.new; mv {0}.new {0}' USR1; echo 0 > {0}; while :; do umask > /dev/null; umask 022; done",
        counter.display()
    );
    let script = Script::start("signals", &text)?;
    let count = || -> Result<u64> {
        let text = fs::read_to_string(&counter)?;
        text.trim().parse().with_context(|| text.clone())
    };
    let unit = script.unit();
    wait::until_true(wait::SOON, "the script counts", || Ok(count()? == 0))?;
    // A trap writes files too, which makes no such calls.
    let mut grows = || -> Result<bool> {
        let before = count()?;
        std::thread::sleep(std::time::Duration::from_millis(60));
        Ok(count()? > before)
    };
    crate::ends::in_every_way(
        "signal",
        crate::ends::kernel_held(),
        |held| {
            inject(
                unit,
                "USR1",
                "umask",
                &["--every", "200", "--max", "1000000", "--for", held],
            )
        },
        &mut grows,
    )?;
    command::output(&["systemctl", "stop", unit]).map(drop)
}
