//! What the lab's units hold in memory: the sum of the proportional set sizes of their processes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup/observastack.slice";

/// Prints a row for each unit, and the sum. PSS counts a page that n processes share as 1/n (Documentation/filesystems/proc.rst).
pub(crate) fn run() -> Result<()> {
    let mut units = BTreeMap::new();
    walk(Path::new(ROOT), &mut units)
        .with_context(|| format!("cannot read {ROOT}: is the lab installed?"))?;
    println!("| unit | processes | PSS MiB |\n|---|---|---|");
    let mut total_kib = 0;
    for (unit, (processes, kib)) in &units {
        println!("| {unit} | {processes} | {:.1} |", *kib as f64 / 1024.0);
        total_kib += kib;
    }
    println!(
        "| all | {} | {:.1} |\n",
        units.values().map(|(processes, _)| processes).sum::<u64>(),
        total_kib as f64 / 1024.0
    );
    Ok(())
}

fn walk(directory: &Path, units: &mut BTreeMap<String, (u64, u64)>) -> Result<()> {
    let name = directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let processes = fs::read_to_string(directory.join("cgroup.procs"))?;
    // 0 is a process of another PID namespace: not one of ours.
    for pid in processes.lines().filter(|pid| *pid != "0") {
        let entry = units.entry(name.clone()).or_default();
        entry.0 += 1;
        entry.1 += pss_kib(&PathBuf::from("/proc").join(pid).join("smaps_rollup"));
    }
    for entry in fs::read_dir(directory)?
        .flatten()
        .filter(|entry| entry.path().is_dir())
    {
        walk(&entry.path(), units)?;
    }
    Ok(())
}

/// A process that has ended meanwhile holds nothing.
fn pss_kib(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}
