//! `syscall-error`, which needs BPF LSM, on the lab's own units in a virtual machine.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::vm::PLACE;
use crate::{
    agents::Script,
    ends, http, journal,
    lab::{self, API_1, POSTGRESQL},
    story::test,
    systemd, wait,
};

pub(super) fn tests() -> Vec<Trial> {
    vec![
        test(
            "vm_syscall_error_fails_the_mapping_of_a_library_below_a_path_only",
            maps_of_a_library,
        ),
        test(
            "vm_syscall_error_fails_reads_below_a_path_only",
            reads_of_postgresql,
        ),
        test(
            "vm_syscall_error_lets_an_api_run_out_of_files_for_its_template",
            opens_of_an_api,
        ),
        test("vm_syscall_error_ends_in_every_way", every_way),
    ]
}

const LONG: &str = "10m";
const TEMPLATE: &str = "/usr/share/observastack/report.html";

/// PostgreSQL reads one of its files with `pg_read_file`, which asks the kernel each time.
fn reads_of_postgresql() -> Result<()> {
    let read = "select length(pg_read_file('PG_VERSION'))";
    lab::sql(read)?;
    let path = format!("{PLACE}/data/PG_VERSION");
    let words = [
        "syscall-error",
        "--unit",
        POSTGRESQL,
        "--calls",
        "read",
        "--errno",
        "EIO",
    ];
    let id = lab::inject(&[&words[..], &["--path", &path, "--for", LONG]].concat())?;
    // An emulated machine that is busy lets the lease lapse for a moment, and what is read then is skipped.
    wait::until_true(wait::SOON, "a read fails", || match lab::sql(read) {
        Ok(_) => Ok(false),
        Err(error) if format!("{error:#}").contains("Input/output error") => Ok(true),
        Err(error) => Err(error),
    })?;
    // Other files of the same server are read as before.
    lab::sql("select length(pg_read_file('postgresql.conf'))")?;
    let ended = lab::clear(id)?;
    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    ensure!(injected > 0 && matched == injected, "{ended}");
    lab::sql(read)?;
    Ok(())
}

/// The loader maps what it loads: one library cannot be, its copy elsewhere can.
fn maps_of_a_library() -> Result<()> {
    const THEIRS: &str = "/opt/observastack-e2e-libraries";
    const COVERED: &str = "/opt/observastack-e2e-libraries/covered";
    let place = |folder: &str| -> Result<String> {
        fs::create_dir_all(folder)?;
        let copy = format!("{folder}/libz.so.1");
        fs::copy("/usr/lib/x86_64-linux-gnu/libz.so.1", &copy).context("no library to copy")?;
        Ok(copy)
    };
    let (covered, other) = (place(COVERED)?, place(THEIRS)?);
    let script = Script::start(
        "maps",
        &format!(
            "while :; do LD_PRELOAD='{covered} {other}' /usr/bin/true; echo again; sleep 0.5; done"
        ),
    )?;
    let unit = script.unit();
    let inject = [
        "syscall-error",
        "--unit",
        unit,
        "--calls",
        "mmap",
        "--errno",
        "EACCES",
        "--path",
        COVERED,
        "--for",
        LONG,
    ];
    let complaint = |record: &Value| journal::message(record).contains("cannot be preloaded");
    let mark = journal::mark()?;
    let id = lab::inject(&inject)?;
    let told = mark.wait_for(unit, "that a library cannot be mapped", complaint)?;
    ensure!(
        journal::message(&told).contains("failed to map segment")
            && mark
                .records(unit)?
                .iter()
                .filter(|record| complaint(record))
                .all(|record| journal::message(record).contains(&covered)),
        "{told}"
    );
    let ended = lab::clear(id)?;
    ensure!(lab::count(&ended, "injected")? > 0, "{ended}");
    // Two more rounds without a word, after the one that the end fell into.
    let mark = journal::mark()?;
    let rounds = wait::until(wait::SOON, "it goes on", || {
        let records = mark.records(unit)?;
        let again = records
            .iter()
            .filter(|record| journal::message(record) == "again");
        Ok((again.count() >= 3).then_some(records))
    })?;
    let quiet = rounds
        .iter()
        .skip_while(|record| journal::message(record) != "again");
    ensure!(!quiet.into_iter().any(complaint), "{rounds:?}");
    systemd::stop(unit)?;
    fs::remove_dir_all(THEIRS)?;
    Ok(())
}

fn inject(held: &str) -> Result<u64> {
    let words = [
        "syscall-error",
        "--unit",
        API_1,
        "--calls",
        "open",
        "--errno",
        "EMFILE",
    ];
    lab::inject(&[&words[..], &["--path", TEMPLATE, "--for", held]].concat())
}

/// The API reads its template for each report.
fn report(port: u16) -> Result<u16> {
    let url = format!("http://127.0.0.1:{port}/report/sales?format=html");
    Ok(http::curl(&[&url])?.status)
}

fn opens_of_an_api() -> Result<()> {
    ensure!(report(8101)? == 200, "no report before the fault");
    let id = inject(LONG)?;
    let (target, bystander) = (report(8101)?, report(8102)?);
    // Everything else of the same process opens and answers.
    let other = http::curl(&["http://127.0.0.1:8101/products?limit=1"])?.status;
    let ended = lab::clear(id)?;
    let after = report(8101)?;
    ensure!(
        target == 500 && (bystander, other, after) == (200, 200, 200),
        "{target} under the fault, {bystander} from a bystander, {other} for products, {after} afterwards"
    );
    let (matched, injected) = (
        lab::count(&ended, "matched")?,
        lab::count(&ended, "injected")?,
    );
    ensure!((matched, injected) == (1, 1), "{ended}");
    let log = crate::command::output(&["journalctl", "-q", "-b", "-u", API_1, "-o", "json"])?;
    ensure!(
        log.contains("Too many open files"),
        "the unit's log does not say why"
    );
    Ok(())
}

fn every_way() -> Result<()> {
    ends::in_every_way("syscall-error", ends::kernel_held(), inject, || {
        Ok(report(8101)? != 200)
    })
}
