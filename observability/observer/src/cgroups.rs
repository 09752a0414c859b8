//! What units' cgroups say of themselves in their files, kept through restarts.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use observastack_loader::unit_paths;
use observastack_spec::kernel::CgroupReport;

/// The figures of all units that were seen. A cgroup that is made anew begins at 0: what the one before had is added.
#[derive(Debug)]
pub(crate) struct Cgroups {
    root: PathBuf,
    slices: Vec<String>,
    units: BTreeMap<String, Unit>,
}

#[derive(Debug, Default)]
struct Unit {
    /// The cgroup's inode number.
    id: u64,
    /// What the cgroups before this one had.
    before: CgroupReport,
    /// What this one has said last.
    now: CgroupReport,
}

impl Cgroups {
    pub(crate) fn new(root: &Path, slices: &[String]) -> Self {
        Self {
            root: root.to_owned(),
            slices: slices.to_vec(),
            units: BTreeMap::new(),
        }
    }

    /// Reads a unit's files.
    pub(crate) fn read(&mut self, unit: &str) -> Option<CgroupReport> {
        let known = self.units.entry(unit.to_owned()).or_default();
        let paths = unit_paths(&self.root, &self.slices, unit);
        let found = paths
            .into_iter()
            .find_map(|path| Some((fs::metadata(&path).ok()?.ino(), path)));
        if let Some((id, path)) = found
            && let Some(now) = read(&path)
        {
            if id != known.id {
                known.before = sum(&known.before, &known.now);
                known.id = id;
            }
            known.now = now;
        }
        (known.id != 0).then(|| sum(&known.before, &known.now))
    }
}

/// Counters are added up; what is a state is the later one's.
fn sum(before: &CgroupReport, now: &CgroupReport) -> CgroupReport {
    let add = |before: Option<u64>, now: Option<u64>| match (before, now) {
        (None, None) => None,
        (before, now) => Some(before.unwrap_or(0) + now.unwrap_or(0)),
    };
    CgroupReport {
        cpu_usage_us: before.cpu_usage_us + now.cpu_usage_us,
        throttled_periods: add(before.throttled_periods, now.throttled_periods),
        throttled_us: add(before.throttled_us, now.throttled_us),
        major_page_faults: add(before.major_page_faults, now.major_page_faults),
        memory_bytes: now.memory_bytes,
        memory_limit_bytes: now.memory_limit_bytes,
        memory_oom_kills: add(before.memory_oom_kills, now.memory_oom_kills),
    }
}

/// One cgroup's files; `None` where it is just going.
fn read(path: &Path) -> Option<CgroupReport> {
    let text = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    let cpu = text("cpu.stat");
    let memory = text("memory.stat");
    let events = text("memory.events");
    Some(CgroupReport {
        cpu_usage_us: value(&cpu, "usage_usec")?,
        throttled_periods: value(&cpu, "nr_throttled"),
        throttled_us: value(&cpu, "throttled_usec"),
        major_page_faults: value(&memory, "pgmajfault"),
        memory_bytes: text("memory.current").trim().parse().ok(),
        memory_limit_bytes: text("memory.max").trim().parse().ok(),
        memory_oom_kills: value(&events, "oom_kill"),
    })
}

/// A number of a file whose lines are names and numbers.
fn value(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    lines.find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

/// Why a unit's throttling, or its memory, cannot be told: the controllers that its hierarchy lacks.
pub(crate) fn missing_controller(root: &Path, controller: &str) -> Option<String> {
    let file = root.join("cgroup.controllers");
    let controllers = fs::read_to_string(&file).unwrap_or_default();
    let has = controllers
        .split_whitespace()
        .any(|name| name == controller);
    (!has).then(|| {
        format!(
            "the {controller} controller is not on the unified hierarchy (see {})",
            file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: &str = "lab.slice";

    fn write(cgroup: &Path, file: &str, text: &str) {
        fs::write(cgroup.join(file), text).unwrap();
    }

    #[test]
    fn a_restart_goes_on_where_the_unit_was() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = root.path().join(SLICE).join("a.service");
        let mut cgroups = Cgroups::new(root.path(), &[SLICE.to_owned()]);
        assert_eq!(cgroups.read("a.service"), None);
        fs::create_dir_all(&cgroup).unwrap();
        write(
            &cgroup,
            "cpu.stat",
            "usage_usec 100\nnr_periods 9\nnr_throttled 3\nthrottled_usec 50\n",
        );
        write(&cgroup, "memory.stat", "pgfault 7\npgmajfault 2\n");
        write(&cgroup, "memory.current", "4096\n");
        write(&cgroup, "memory.max", "max\n");
        let first = cgroups.read("a.service").unwrap();
        assert_eq!(
            (
                first.cpu_usage_us,
                first.throttled_us,
                first.memory_limit_bytes
            ),
            (100, Some(50), None)
        );
        assert_eq!(
            (first.major_page_faults, first.memory_bytes),
            (Some(2), Some(4096))
        );

        // The old directory keeps its inode number while the new one is made.
        let old = root.path().join("old");
        fs::rename(&cgroup, &old).unwrap();
        assert_eq!(
            cgroups.read("a.service").unwrap(),
            first,
            "while it is down"
        );
        fs::create_dir_all(&cgroup).unwrap();
        write(
            &cgroup,
            "cpu.stat",
            "usage_usec 5\nnr_throttled 1\nthrottled_usec 7\n",
        );
        let second = cgroups.read("a.service").unwrap();
        assert_eq!(
            (
                second.cpu_usage_us,
                second.throttled_periods,
                second.throttled_us
            ),
            (105, Some(4), Some(57))
        );
        assert_eq!(second.major_page_faults, Some(2));
    }

    #[test]
    fn a_controller_that_is_not_there_is_named() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "cgroup.controllers", "cpu io\n");
        assert_eq!(missing_controller(root.path(), "cpu"), None);
        let reason = missing_controller(root.path(), "memory").unwrap();
        assert!(reason.contains("memory controller"), "{reason}");
    }
}
