//! `syscalls`: which system calls a unit makes, how many fail, and how long they take.

use std::{cmp::Reverse, collections::BTreeMap, process::ExitCode};

use clap::Args;
use observastack_spec::kernel::SyscallReport;

use super::counting::{Counting, below, during, mean};
use crate::{client::Client, failure::Failure, output};

/// Count a unit's system calls for some time: how many, how many failed and why, how long they took.
///
/// The kernel counts them itself, so unlike under strace the unit goes on at its own speed. Ends early with Ctrl-C.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Syscalls {
    #[command(flatten)]
    counting: Counting,
}

const HEADER: [&str; 6] = ["CALL", "COUNT", "TIME", "MEAN", "P99 <", "FAILED"];

/// Counts, and prints what took most time first.
pub(crate) async fn run(
    syscalls: &Syscalls,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let counted = during(observer, "syscalls", &syscalls.counting).await?;
    let found = since(&counted.before.syscalls, &counted.after.syscalls);
    if json {
        output::json(&counted.json("syscalls", &found));
    } else {
        output::line(counted.table(&HEADER, &rows(&found)));
    }
    Ok(ExitCode::SUCCESS)
}

/// What came between two readings, what took most time first.
fn since(before: &[SyscallReport], after: &[SyscallReport]) -> Vec<SyscallReport> {
    let none = SyscallReport::default();
    let mut calls: Vec<_> = after
        .iter()
        .map(|now| {
            let then = before.iter().find(|then| then.name == now.name);
            let then = then.unwrap_or(&none);
            let errors = now.errors.iter().filter_map(|(errno, count)| {
                let before = then.errors.get(errno).copied().unwrap_or(0);
                let count = count.saturating_sub(before);
                (count > 0).then(|| (errno.clone(), count))
            });
            SyscallReport {
                name: now.name.clone(),
                times: now.times.since(&then.times),
                errors: errors.collect::<BTreeMap<_, _>>(),
            }
        })
        .filter(|call| call.times.count() > 0)
        .collect();
    calls.sort_by_key(|call| Reverse(call.times.sum_ns));
    calls
}

fn rows(found: &[SyscallReport]) -> Vec<Vec<String>> {
    found
        .iter()
        .map(|call| {
            let errors: Vec<String> = call
                .errors
                .iter()
                .map(|(errno, count)| format!("{count} {errno}"))
                .collect();
            vec![
                call.name.clone(),
                call.times.count().to_string(),
                output::nanoseconds(call.times.sum_ns),
                mean(&call.times),
                below(&call.times, 0.99),
                errors.join(", "),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use observastack_spec::kernel::{Times, UnitReport};

    use super::{super::counting::Counted, *};

    fn call(name: &str, buckets: &[u64], sum_ns: u64, errors: &[(&str, u64)]) -> SyscallReport {
        SyscallReport {
            name: name.to_owned(),
            times: Times {
                buckets: buckets.to_vec(),
                sum_ns,
            },
            errors: errors
                .iter()
                .map(|(errno, count)| ((*errno).to_owned(), *count))
                .collect(),
        }
    }

    #[test]
    fn only_what_came_meanwhile_is_told_and_the_longest_first() {
        let before = [
            call("read", &[5], 500, &[("EAGAIN", 2)]),
            call("close", &[3], 30, &[]),
        ];
        let after = [
            call("read", &[6, 1], 900, &[("EAGAIN", 3), ("EINTR", 1)]),
            call("close", &[3], 30, &[]),
            call("openat", &[0, 2], 5000, &[("ENOENT", 2)]),
        ];
        let counted = Counted {
            unit: "a.service".to_owned(),
            seconds: 2.0,
            before: UnitReport::default(),
            after: UnitReport::default(),
        };
        assert_eq!(
            counted.table(&HEADER, &rows(&since(&before, &after))),
            "a.service for 2.0 s\n\n\
             CALL    COUNT  TIME    MEAN    P99 <   FAILED\n\
             openat  2      5.0 µs  2.5 µs  2.0 µs  2 ENOENT\n\
             read    2      400 ns  200 ns  2.0 µs  1 EAGAIN, 1 EINTR"
        );
    }
}
