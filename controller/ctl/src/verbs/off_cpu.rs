//! `off-cpu`: what a unit's tasks wait for while they want no CPU.

use std::{cmp::Reverse, process::ExitCode};

use clap::Args;
use observastack_spec::kernel::OffCpuReport;

use super::counting::{Counting, below, during, mean};
use crate::{client::Client, failure::Failure, output};

/// Count how long a unit's tasks sleep, by the system call that they sleep in: until they are woken, so not for want of a CPU.
///
/// Sleeps in epoll_wait, futex and the like are what idle threads do. Marked with D is what no signal wakes: block I/O, or a lock of the
/// kernel's own. Ends early with Ctrl-C.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct OffCpu {
    #[command(flatten)]
    counting: Counting,
}

const HEADER: [&str; 6] = ["IN", "", "COUNT", "TIME", "MEAN", "P99 <"];

/// Counts, and prints what took most time first.
pub(crate) async fn run(
    off_cpu: &OffCpu,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let counted = during(observer, "off-cpu", &off_cpu.counting).await?;
    let found = since(&counted.before.off_cpu, &counted.after.off_cpu);
    if json {
        output::json(&counted.json("sleeps", &found));
    } else {
        output::line(counted.table(&HEADER, &rows(&found)));
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

fn rows(found: &[OffCpuReport]) -> Vec<Vec<String>> {
    found
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
        .collect()
}

#[cfg(test)]
mod tests {
    use observastack_spec::kernel::{Times, UnitReport};

    use super::{super::counting::Counted, *};

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
            before: UnitReport::default(),
            after: UnitReport::default(),
        };
        assert_eq!(
            counted.table(&HEADER, &rows(&since(&before, &after))),
            "a.service for 1.0 s\n\n\
             IN        COUNT  TIME    MEAN     P99 <\n\
             futex     2      100 µs  50.0 µs  2.0 µs\n\
             fsync  D  2      6.0 µs  3.0 µs   2.0 µs\n\
             fsync     1      1.5 µs  1.5 µs   2.0 µs"
        );
    }
}
