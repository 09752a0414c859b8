//! `syscalls`: which system calls a unit makes, how many fail, and how long they take.

use std::{cmp::Reverse, collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Args;
use hyper::Method;
use observastack_spec::kernel::{
    KernelReport, OTHER_UNIT, ProbeList, Switch, SyscallReport, Times,
};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{client::Client, collector::short, failure::Failure, output};

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
    let report = read(observer).await?;
    let unit = known(&report, &syscalls.unit)?;
    let before = calls(&report, &unit);
    // A name that systemd has escaped has a backslash in it.
    let escaped: String = form_urlencoded::byte_serialize(unit.as_bytes()).collect();
    let path = format!("/v1/syscalls/{escaped}");
    let on: ProbeList = observer
        .ask(Method::PUT, &path, Some(&Switch { on: true }))
        .await?;
    drop(on);
    let started = std::time::Instant::now();
    let waited = wait(syscalls.length).await;
    // Read before it is switched off, so that what it took is what is told; and switched off whatever became of the reading.
    let after = read(observer).await;
    let seconds = started.elapsed().as_secs_f64();
    let off: Result<ProbeList, Failure> = observer
        .ask(Method::PUT, &path, Some(&Switch { on: false }))
        .await;
    waited?;
    let counted = Counted {
        syscalls: since(&before, &calls(&after?, &unit)),
        unit,
        seconds,
    };
    off?;
    if json {
        output::json(&counted);
    } else {
        output::line(text(&counted));
    }
    Ok(ExitCode::SUCCESS)
}

async fn wait(length: Duration) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|source| Failure::Io {
        what: "cannot wait for Ctrl-C".to_owned(),
        source,
    })?;
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn read(observer: &Client) -> Result<KernelReport, Failure> {
    observer.ask(Method::GET, "/v1/kernel", None::<&()>).await
}

fn calls(report: &KernelReport, unit: &str) -> Vec<SyscallReport> {
    let unit = report.units.get(unit);
    unit.map(|unit| unit.syscalls.clone()).unwrap_or_default()
}

/// The unit's full name, of those that the observer knows.
fn known(report: &KernelReport, name: &str) -> Result<String, Failure> {
    let units = || report.units.keys().filter(|unit| *unit != OTHER_UNIT);
    let found = units().find(|unit| *unit == name || short(unit) == short(name));
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = units().map(|unit| short(unit)).collect();
        Failure::Usage(format!(
            "no unit `{name}` is known; there are {}",
            names.join(", ")
        ))
    })
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

fn mean(times: &Times) -> String {
    let mean = times.sum_ns.checked_div(times.count());
    mean.map(output::nanoseconds).unwrap_or_default()
}

fn below(times: &Times, q: f64) -> String {
    times
        .quantile_ns(q)
        .map(output::nanoseconds)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use observastack_spec::kernel::UnitReport;

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
    fn a_unit_is_found_by_its_short_name_and_an_unknown_one_is_told_the_others() {
        let names = ["observastack-api@1.service", "cron.service", OTHER_UNIT];
        let report = KernelReport {
            units: names
                .map(|name| (name.to_owned(), UnitReport::default()))
                .into(),
            ..KernelReport::default()
        };
        let full = "observastack-api@1.service";
        for name in ["api@1", "observastack-api@1", full] {
            assert_eq!(known(&report, name).unwrap(), full);
        }
        let error = known(&report, "other").unwrap_err().to_string();
        assert_eq!(error, "no unit `other` is known; there are cron, api@1");
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
