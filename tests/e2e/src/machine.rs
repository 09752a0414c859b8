//! What faults may change on the machine, taken together: it must be the same before and after.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    command,
    lab::{self, SUT_UNITS},
    systemd, wait,
};

const JOURNAL: &str = "/var/lib/observastack/injector/journal";
/// Where systemd keeps properties that were set at run time.
const CONTROL: &str = "/run/systemd/system.control";

/// Each part by its name, as other people's tools show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine(BTreeMap<String, String>);

impl Machine {
    /// As it is now. Processes are left out: units may have been restarted.
    pub(crate) fn now() -> Result<Self> {
        let mut parts = BTreeMap::new();
        let mut add = |name: &str, value: String| parts.insert(name.to_owned(), value);
        let names = programs()?;
        add("links and programs", held(&names)?);
        add(
            "bpftool cgroup",
            attached(&["cgroup", "tree", "/sys/fs/cgroup"], &names)?,
        );
        add("bpftool net", attached(&["net", "show"], &names)?);
        add("tc qdisc", command::output(&["tc", "qdisc"])?);
        // Nothing on a machine without device-mapper.
        let tables = command::run(&[
            "sh",
            "-c",
            "if command -v dmsetup > /dev/null; then dmsetup table; fi",
        ])?;
        add("dmsetup table", tables.stdout);
        add("journal", listing(Path::new(JOURNAL))?);
        add("run-time properties", listing(Path::new(CONTROL))?);
        let timers = ["systemctl", "list-units", "--all", "--plain", "--no-legend"];
        let timers = command::output(&[&timers[..], &["observastack-revert-*"]].concat())?;
        add("transient units", timers);
        for unit in SUT_UNITS {
            add(
                &format!("{unit} frozen"),
                systemd::cgroup_value(unit, "cgroup.events", "frozen")?.to_string(),
            );
            add(&format!("{unit} descriptors"), descriptors(unit)?);
            let properties = systemd::property(unit, "DropInPaths")?;
            add(&format!("{unit} drop-ins"), properties);
            let burning = systemd::processes(unit)?
                .into_iter()
                .filter(|process| is_load(*process))
                .count();
            add(&format!("{unit} load"), burning.to_string());
        }
        Ok(Self(parts))
    }

    /// Waits until everything is as it was then.
    pub(crate) fn comes_back(&self) -> Result<()> {
        wait::until_true(wait::SOON, "the machine is as before", || {
            Self::now()?.expect(self).map(|()| true)
        })
    }

    /// An error that names every part that is not as it was.
    pub(crate) fn expect(&self, before: &Self) -> Result<()> {
        let changed: Vec<String> = self
            .0
            .iter()
            .filter(|(name, value)| before.0.get(*name) != Some(value))
            .map(|(name, value)| format!("{name}: was {:?}, is {value:?}", before.0.get(name)))
            .collect();
        ensure!(changed.is_empty(), "{}", changed.join("\n"));
        Ok(())
    }
}

fn bpftool(words: &[&str]) -> Result<Value> {
    let text = command::output(&[&["bpftool", "--json"], words].concat())?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// Names of loaded programs by id: of every machine that shares this one's kernel, for the kernel has one list.
fn programs() -> Result<BTreeMap<u64, String>> {
    let list = bpftool(&["prog", "show"])?;
    let named = list.as_array().into_iter().flatten().filter_map(|program| {
        let name = program["name"].as_str()?;
        Some((program["id"].as_u64()?, name.to_owned()))
    });
    Ok(named.collect())
}

/// What bpftool finds attached on this machine. systemd's programs come and go with units.
fn attached(words: &[&str], names: &BTreeMap<u64, String>) -> Result<String> {
    fn collect(value: &Value, found: &mut Vec<u64>) {
        match value {
            Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
            Value::Object(fields) => {
                let id = fields.get("prog_id").or_else(|| fields.get("id"));
                found.extend(id.and_then(Value::as_u64));
                fields.values().for_each(|value| collect(value, found));
            }
            _ => {}
        }
    }
    let mut ids = Vec::new();
    collect(&bpftool(words)?, &mut ids);
    let mut found: Vec<&str> = ids
        .iter()
        .filter_map(|id| names.get(id))
        .map(String::as_str)
        .filter(|name| !name.starts_with("sd_") && !name.starts_with("sysctl_"))
        .collect();
    found.sort_unstable();
    Ok(found.join(" "))
}

/// The links and programs that the injector has open: nobody else holds them, and nothing is pinned.
fn held(names: &BTreeMap<u64, String>) -> Result<String> {
    let process = lab::main_process(lab::INJECTOR)?.as_raw_nonzero();
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // It may have been closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let Some(id) = value("prog_id").and_then(|id| id.parse().ok()) else {
            continue;
        };
        let kind = value("link_type").unwrap_or("program");
        let name = names.get(&id).map_or("unknown", String::as_str);
        found.push(format!("{kind} {name}"));
    }
    found.sort_unstable();
    Ok(found.join(", "))
}

/// Every file below a directory with its text; nothing where there is none.
fn listing(directory: &Path) -> Result<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with(".lock") {
                // A lock file is made with the first change, and stays.
                let text = fs::read_to_string(&path).unwrap_or_default();
                found.push(format!("{}: {text}", path.display()));
            }
        }
    }
    found.sort();
    Ok(found.join("\n"))
}

/// The limits of descriptors of a unit's main process, as the kernel shows them.
fn descriptors(unit: &str) -> Result<String> {
    let process = lab::main_process(unit)?.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let line = text.lines().find(|line| line.starts_with("Max open files"));
    Ok(line.context("no limit of descriptors")?.trim().to_owned())
}

/// Whether a process is one of a fault's that burn CPU.
pub(crate) fn is_load(process: u32) -> bool {
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| {
        let mut words = line.split(|byte| *byte == 0);
        words.any(|word| word.ends_with(b"observastack-injector"))
            && words.next() == Some(b"stress")
    })
}
