//! `off-cpu`: what a unit's tasks wait for while they want no CPU.

use std::{cmp::Reverse, process::ExitCode, time::Duration};

use clap::Args;
use observastack_spec::kernel::OffCpuReport;
use serde::Serialize;

use super::counting::{below, during, mean};
use crate::{client::Client, failure::Failure, output};

/// Count how long a unit's tasks sleep, by the system call that they sleep in: until they are woken, so not for want of a CPU.
///
/// Sleeps in epoll_wait, futex and the like are what idle threads do. Marked with D is what no signal wakes: block I/O, or a lock of the
/// kernel's own. Ends early with Ctrl-C.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct OffCpu {
    /// The unit, such as postgresql.
    #[arg(long)]
    unit: String,
    /// For how long.
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    length: Duration,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Counted {
    unit: String,
    seconds: f64,
    sleeps: Vec<OffCpuReport>,
}

/// Counts, and prints what took most time first.
pub(crate) async fn run(
    off_cpu: &OffCpu,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let found = during(observer, "off-cpu", &off_cpu.unit, off_cpu.length).await?;
    let counted = Counted {
        sleeps: since(&found.before.off_cpu, &found.after.off_cpu),
        unit: found.unit,
        seconds: found.seconds,
    };
    if json {
        output::json(&counted);
    } else {
        output::line(text(&counted));
    }
    Ok(ExitCode::SUCCESS)
}

/// What came between two readings, what took most time first.
fn since(before: &[OffCpuReport], after: &[OffCpuReport]) -> Vec<OffCpuReport> {
    let none = OffCpuReport::default();
    let mut sleeps: Vec<_> = after
        .iter()
        .map(|now| {
            let same = |then: &&OffCpuReport| {
                then.cause == now.cause && then.uninterruptible == now.uninterruptible
            };
            let then = before.iter().find(same).unwrap_or(&none);
            OffCpuReport {
                times: now.times.since(&then.times),
                ..now.clone()
            }
        })
        .filter(|sleep| sleep.times.count() > 0)
        .collect();
    sleeps.sort_by_key(|sleep| Reverse(sleep.times.sum_ns));
    sleeps
}

fn text(counted: &Counted) -> String {
    let rows: Vec<_> = counted
        .sleeps
        .iter()
        .map(|sleep| {
            let mark = if sleep.uninterruptible { "D" } else { "" };
            vec![
                sleep.cause.clone(),
                mark.to_owned(),
                sleep.times.count().to_string(),
                output::nanoseconds(sleep.times.sum_ns),
                mean(&sleep.times),
                below(&sleep.times, 0.99),
            ]
        })
        .collect();
    let table = output::table(&["IN", "", "COUNT", "TIME", "MEAN", "P99 <"], &rows);
    format!("{} for {:.1} s\n\n{table}", counted.unit, counted.seconds)
}

#[cfg(test)]
mod tests {
    use observastack_spec::kernel::Times;

    use super::*;

    #[test]
    fn sleeps_of_both_kinds_are_told_apart() {
        let sleep = |cause: &str, uninterruptible, count, sum_ns| OffCpuReport {
            cause: cause.to_owned(),
            uninterruptible,
            times: Times {
                buckets: vec![0, count],
                sum_ns,
            },
        };
        let before = [sleep("fsync", true, 2, 4000)];
        let after = [
            sleep("fsync", true, 4, 10_000),
            sleep("fsync", false, 1, 1500),
            sleep("futex", false, 2, 100_000),
        ];
        let counted = Counted {
            unit: "a.service".to_owned(),
            seconds: 1.0,
            sleeps: since(&before, &after),
        };
        assert_eq!(
            text(&counted),
            "a.service for 1.0 s\n\n\
             IN        COUNT  TIME    MEAN     P99 <\n\
             futex     2      100 µs  50.0 µs  2.0 µs\n\
             fsync  D  2      6.0 µs  3.0 µs   2.0 µs\n\
             fsync     1      1.5 µs  1.5 µs   2.0 µs"
        );
    }
}
