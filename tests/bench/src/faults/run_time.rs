//! The kernel's own account of what programs cost: how often each ran, and how long (`kernel.bpf_stats_enabled`).

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Keeps the statistics on; puts the switch back when dropped.
pub(crate) struct Statistics {
    before: String,
}

impl Statistics {
    pub(crate) fn on() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.before.trim()) {
            eprintln!("error: cannot restore {SWITCH}: {error}");
        }
    }
}

/// What programs have run so far, by their ids.
pub(super) type RunTimes = BTreeMap<u32, RunTime>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunTime {
    pub(super) events: u64,
    total_ns: u64,
}

impl RunTime {
    fn since(self, before: Self) -> Self {
        Self {
            events: self.events - before.events,
            total_ns: self.total_ns - before.total_ns,
        }
    }

    /// Mean time of an event in nanoseconds.
    pub(super) fn mean_ns(self) -> f64 {
        self.total_ns as f64 / self.events as f64
    }
}

/// Of every program that this process holds.
pub(super) fn read() -> Result<RunTimes> {
    let mut times = RunTimes::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // The descriptor of this very directory is gone when it is looked at.
        if let Ok(info) = fs::read_to_string(entry?.path())
            && let Some((id, time)) = parse(&info)
        {
            times.insert(id, time);
        }
    }
    Ok(times)
}

/// The busiest of some programs since `before`: everything else that is loaded is attached to nothing that happens.
pub(super) fn busiest(before: &RunTimes, after: &RunTimes) -> Result<RunTime> {
    let since = |(id, time): (&u32, &RunTime)| Some(time.since(*before.get(id)?));
    let busiest = after
        .iter()
        .filter_map(since)
        .max_by_key(|time| time.events);
    let busiest = busiest.context("no program is loaded")?;
    ensure!(busiest.events > 0, "no program has run");
    Ok(busiest)
}

fn parse(info: &str) -> Option<(u32, RunTime)> {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    let time = RunTime {
        events: field("run_cnt")?.parse().ok()?,
        total_ns: field("run_time_ns")?.parse().ok()?,
    };
    Some((field("prog_id")?.parse().ok()?, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_from_its_links() {
        let program = "pos:\t0\nflags:\t02000002\nprog_type:\t8\nprog_jited:\t1\nprog_tag:\tabc\nmemlock:\t4096\nprog_id:\t17\n\
                       run_time_ns:\t1500\nrun_cnt:\t10\nrecursion_misses:\t0\nverified_insns:\t2\n";
        let (id, time) = parse(program).unwrap();
        assert_eq!((id, time.events, time.mean_ns()), (17, 10, 150.0));
        assert_eq!(
            parse("link_type:\tcgroup\nlink_id:\t3\nprog_id:\t17\n"),
            None
        );
    }

    #[test]
    fn the_busiest_is_counted_from_the_reading_before() {
        let times = |events, total_ns| RunTime { events, total_ns };
        let before = RunTimes::from([(1, times(100, 900)), (2, times(5, 5))]);
        let after = RunTimes::from([(1, times(101, 990)), (2, times(15, 205))]);
        assert_eq!(busiest(&before, &after).unwrap(), times(10, 200));
        assert!(busiest(&before, &before).is_err());
    }
}
