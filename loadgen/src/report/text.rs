//! A report for people, and a line while it runs.

use std::time::Duration;

use super::{Distribution, Report};
use crate::stats::Stats;

/// The whole report.
#[must_use]
pub fn text(report: &Report) -> String {
    let mut lines = vec![
        format!("{}: {:.1} s", report.target, report.elapsed_s),
        String::new(),
        format!(
            "due       {:>10}  {:>10.1}/s",
            report.due, report.asked_per_second
        ),
        format!(
            "answered  {:>10}  {:>10.1}/s",
            report.answered, report.answered_per_second
        ),
        format!(
            "errors    {:>10}  {:>10.3} %{}",
            report.errors.values().sum::<u64>(),
            report.error_share * 100.0,
            listed(report.errors.iter())
        ),
        format!(
            "statuses  {}",
            listed(report.statuses.iter()).trim_start_matches(": ")
        ),
        format!(
            "opened {} connections, received {} bytes of bodies",
            report.connections, report.body_bytes
        ),
        String::new(),
        format!(
            "{:<22}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}",
            "", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"
        ),
        row("response, from due", &report.response),
        row("service, from sent", &report.service),
        row("generator's lateness", &report.schedule),
    ];
    if !report.thresholds.is_empty() {
        lines.push(String::new());
    }
    for verdict in &report.thresholds {
        let word = if verdict.holds { "holds " } else { "FAILED" };
        lines.push(format!(
            "{word} {} (measured: {})",
            verdict.threshold, verdict.measured
        ));
    }
    if !report.invalid.is_empty() {
        lines.push(String::new());
        lines.push("THIS RUN DOES NOT SHOW THE TARGET:".to_owned());
        lines.extend(report.invalid.iter().map(|why| format!("  {why}")));
    }
    lines.join("\n")
}

/// How it goes, in one line.
#[must_use]
pub fn line(stats: &Stats, elapsed: Duration, length: Duration, rate: Option<f64>) -> String {
    let rate = rate.map_or_else(|| "as comes".to_owned(), |rate| format!("{rate:.0}/s"));
    let ns = |share| u64::try_from(stats.response.quantile(share).as_nanos()).unwrap_or(u64::MAX);
    let share = (elapsed.as_secs_f64() / length.as_secs_f64().max(1e-9)).min(1.0);
    format!(
        "{:>3.0} % {:>7.1} s  asked {rate:>10}  answered {:>8.0}/s  p50 {:>9}  p95 {:>9}  p99 {:>9}  errors {}",
        share * 100.0,
        elapsed.as_secs_f64(),
        stats.answered_per_second(elapsed),
        time(ns(0.5)),
        time(ns(0.95)),
        time(ns(0.99)),
        stats.failed()
    )
}

fn listed<'a, K: std::fmt::Display>(counts: impl Iterator<Item = (K, &'a u64)>) -> String {
    let parts: Vec<String> = counts
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": {}", parts.join(", "))
    }
}

fn row(name: &str, times: &Distribution) -> String {
    let figures = [
        times.mean_ns,
        times.p50_ns,
        times.p90_ns,
        times.p99_ns,
        times.p99_9_ns,
        times.p99_99_ns,
        times.max_ns,
    ];
    let cells: String = figures
        .into_iter()
        .map(|ns| format!("{:>11}", time(ns)))
        .collect();
    format!("{name:<22}{cells}")
}

/// A time with the unit that fits.
pub(super) fn time(ns: u64) -> String {
    let of = |unit: f64| ns as f64 / unit;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", of(1e3)),
        1_000_000..1_000_000_000 => format!("{:.2} ms", of(1e6)),
        _ => format!("{:.2} s", of(1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stats::ErrorKind, threshold::Threshold};

    #[test]
    fn a_report_says_what_was_asked_for_what_came_and_what_failed() {
        let mut stats = Stats {
            due: 10,
            ..Stats::default()
        };
        stats.statuses.insert(200, 8);
        stats.statuses.insert(503, 1);
        stats.error(ErrorKind::Status);
        stats.error(ErrorKind::Timeout);
        stats.response.record(Duration::from_millis(2));
        let elapsed = Duration::from_secs(1);
        let verdict = Threshold::parse("errors<1%")
            .unwrap()
            .judge(&stats, elapsed);
        let text = text(&Report::new("http://t/", elapsed, &stats, vec![verdict]));
        for words in [
            "http://t/: 1.0 s",
            "due               10",
            "status 1, timeout 1",
            "200 8, 503 1",
            "FAILED errors<1% (measured: 20.000 %)",
        ] {
            assert!(text.contains(words), "no {words:?} in\n{text}");
        }
    }
}
