//! How much memory the lab takes when nobody uses it.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::{figures, lab::UNITS, story::test, systemd};

/// The figure of the project: all units together, in KiB.
const LIMIT_KIB: u64 = 400 * 1024;

pub(super) fn tests() -> Vec<Trial> {
    vec![test("footprint::the_idle_lab_fits_into_400_mib", idle)]
}

fn idle() -> Result<()> {
    let mut sum_kib = 0;
    for unit in UNITS {
        let mut unit_kib = 0;
        let processes = systemd::processes(unit)?;
        for process in &processes {
            unit_kib += proportional_kib(*process)?;
        }
        figures::note(format!(
            "{unit}: {:.1} MiB in {} processes",
            unit_kib as f64 / 1024.0,
            processes.len()
        ));
        sum_kib += unit_kib;
    }
    figures::note(format!("all units: {:.1} MiB", sum_kib as f64 / 1024.0));
    ensure!(sum_kib > 10 * 1024, "that can't be all: {sum_kib} KiB");
    ensure!(
        sum_kib <= LIMIT_KIB,
        "{sum_kib} KiB are more than {LIMIT_KIB} KiB"
    );
    Ok(())
}

/// A process's memory, where shared pages count for each sharer's part.
fn proportional_kib(process: u32) -> Result<u64> {
    let text = match fs::read_to_string(format!("/proc/{process}/smaps_rollup")) {
        Ok(text) => text,
        // PostgreSQL's workers come and go.
        Err(error) if [Some(2), Some(3)].contains(&error.raw_os_error()) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let line = line.with_context(|| format!("no Pss of {process}"))?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
