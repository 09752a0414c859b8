//! The `process_*` metrics, read from /proc at each scrape.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Clock ticks in a second in /proc: the kernel's interface is fixed at 100 on every architecture Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Exports the process itself; a value that cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(stat) = Stat::read() {
            let cpu = ConstCounter::new(stat.cpu_seconds);
            cpu.encode(encoder.encode_descriptor(
                "process_cpu",
                "CPU time used, user and system",
                Some(&Unit::Seconds),
                cpu.metric_type(),
            )?)?;
            gauge(
                &mut encoder,
                "process_threads",
                "Threads",
                None,
                stat.threads,
            )?;
            if let Some(start) = stat.start_time_seconds() {
                gauge(
                    &mut encoder,
                    "process_start_time",
                    "Start, since the epoch",
                    Some(&Unit::Seconds),
                    start,
                )?;
            }
        }
        if let Some(bytes) = resident_bytes() {
            gauge(
                &mut encoder,
                "process_resident_memory",
                "Resident memory",
                Some(&Unit::Bytes),
                bytes,
            )?;
        }
        if let Ok(directory) = std::fs::read_dir("/proc/self/fd") {
            // The directory being read is one of them.
            let open = directory.count().saturating_sub(1);
            gauge(
                &mut encoder,
                "process_open_fds",
                "Open file descriptors",
                None,
                open as f64,
            )?;
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

struct Stat {
    cpu_seconds: f64,
    threads: f64,
    started_after_boot_seconds: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Parses `/proc/PID/stat`, see proc(5). The second field, the name, may hold spaces and brackets.
    fn parse(text: &str) -> Option<Self> {
        let (_, after_name) = text.rsplit_once(')')?;
        // Field 3 of the manual page is number 0 here.
        let field = |number: usize| {
            after_name
                .split_ascii_whitespace()
                .nth(number - 3)?
                .parse::<f64>()
                .ok()
        };
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            started_after_boot_seconds: field(22)? / TICKS_PER_SECOND,
        })
    }

    fn start_time_seconds(&self) -> Option<f64> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()?
            .as_secs_f64();
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let up = up.tv_sec as f64 + up.tv_nsec as f64 / 1e9;
        // Whole seconds: the two clocks are read at different times, and the value must not wander between scrapes.
        Some((now - up + self.started_after_boot_seconds).round())
    }
}

fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_behind_a_name_with_brackets_and_spaces() {
        let text = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 7 0 4200 1 2";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.cpu_seconds, 4.0);
        assert_eq!(stat.threads, 7.0);
        assert_eq!(stat.started_after_boot_seconds, 42.0);
    }

    #[test]
    fn the_own_process_reads_as_started_in_the_past_with_memory_in_use() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let start = Stat::read().unwrap().start_time_seconds().unwrap();
        assert!(
            start <= now + 1.0 && start > now - 3600.0,
            "started {start}, now {now}"
        );
        assert!(resident_bytes().unwrap() > 100_000.0);
    }
}
