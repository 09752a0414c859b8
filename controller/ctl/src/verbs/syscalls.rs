//! `syscalls`: which system calls a unit makes, how many fail, and how long they take.

use std::{cmp::Reverse, collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Args;
use observastack_spec::kernel::SyscallReport;
use serde::Serialize;

use super::counting::{below, during, mean};
use crate::{client::Client, failure::Failure, output};

/// Count a unit's system calls for some time: how many, how many failed and why, how long they took.
///
/// The kernel counts them itself, so unlike under strace the unit goes on at its own speed. Ends early with Ctrl-C.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Syscalls {
    /// The unit, such as api@1.
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
    syscalls: Vec<SyscallReport>,
}

/// Counts, and prints what took most time first.
pub(crate) async fn run(
    syscalls: &Syscalls,
    observer: &Client,
    json: bool,
) -> Result<ExitCode, Failure> {
    let found = during(observer, "syscalls", &syscalls.unit, syscalls.length).await?;
    let counted = Counted {
        syscalls: since(&found.before.syscalls, &found.after.syscalls),
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

fn text(counted: &Counted) -> String {
    let rows: Vec<_> = counted
        .syscalls
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
        .collect();
    let table = output::table(&["CALL", "COUNT", "TIME", "MEAN", "P99 <", "FAILED"], &rows);
    format!("{} for {:.1} s\n\n{table}", counted.unit, counted.seconds)
}

#[cfg(test)]
mod tests {
    use observastack_spec::kernel::Times;

    use super::*;

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
            syscalls: since(&before, &after),
        };
        assert_eq!(
            text(&counted),
            "a.service for 2.0 s\n\n\
             CALL    COUNT  TIME    MEAN    P99 <   FAILED\n\
             openat  2      5.0 µs  2.5 µs  2.0 µs  2 ENOENT\n\
             read    2      400 ns  200 ns  2.0 µs  1 EAGAIN, 1 EINTR"
        );
    }
}
