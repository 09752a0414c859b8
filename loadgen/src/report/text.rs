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
    if report.retries > 0 || report.abandoned > 0 {
        lines.insert(
            7,
            format!(
                "{} requests were repetitions, {} were abandoned",
                report.retries, report.abandoned
            ),
        );
    }
    if report.endpoints.len() > 1 {
        lines.extend(journeys(report));
        lines.extend(endpoints(report));
    }
    if !report.slowest.is_empty() {
        lines.push(String::new());
        lines.push("slowest traces, for `observastack-ctl trace ID`:".to_owned());
    }
    for slow in report.slowest.iter().take(SLOWEST) {
        let took = time(slow.response_ns);
        lines.push(format!("{took:>11}  {}  {}", slow.trace_id, slow.name));
    }
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

/// How many of the slowest traces are shown.
const SLOWEST: usize = 3;

fn journeys(report: &Report) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!(
            "{:<32}{:>10}{:>11}{:>9}{:>11}{:>11}{:>11}",
            "journeys", "begun", "completed", "failed", "p50", "p99", "max"
        ),
    ];
    lines.extend(report.journeys.iter().map(|journey| {
        format!(
            "{:<32}{:>10}{:>11}{:>9}{:>11}{:>11}{:>11}",
            journey.name,
            journey.begun,
            journey.completed,
            journey.failed,
            time(journey.times.p50_ns),
            time(journey.times.p99_ns),
            time(journey.times.max_ns)
        )
    }));
    lines
}

fn endpoints(report: &Report) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!(
            "{:<32}{:>10}{:>11}{:>9}{:>11}{:>11}{:>11}",
            "requests", "due", "answered", "errors", "p50", "p99", "max"
        ),
    ];
    lines.extend(report.endpoints.iter().map(|endpoint| {
        format!(
            "{:<32}{:>10}{:>11}{:>9}{:>11}{:>11}{:>11}{}",
            format!("{}: {}", endpoint.journey, endpoint.name),
            endpoint.due,
            endpoint.response.count,
            endpoint.errors.values().sum::<u64>(),
            time(endpoint.response.p50_ns),
            time(endpoint.response.p99_ns),
            time(endpoint.response.max_ns),
            listed(endpoint.errors.iter()).replacen(": ", "  ", 1)
        )
    }));
    lines
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// How long it has been running.
    pub elapsed: Duration,
    /// How long it takes.
    pub length: Duration,
    /// The rate that is asked for; none in a closed loop.
    pub rate: Option<f64>,
    /// How wide the line may be; a bar fills what is left of it.
    pub width: Option<usize>,
}

/// How it goes, in one line: what was measured lately, and errors in all.
#[must_use]
pub fn line(lately: &Stats, over: Duration, all: &Stats, progress: &Progress) -> String {
    let rate = progress
        .rate
        .map_or_else(|| "as comes".to_owned(), |rate| format!("{rate:.0}/s"));
    let at = |share| time(super::ns(lately.response.quantile(share)));
    let share = progress.elapsed.as_secs_f64() / progress.length.as_secs_f64().max(1e-9);
    let share = share.min(1.0);
    let line = format!(
        "{:>3.0} % {:>6.1} s  asked {rate:>9}  reached {:>7.0}/s  p50 {:>9}  p95 {:>9}  p99 {:>9}  errors {}",
        share * 100.0,
        progress.elapsed.as_secs_f64(),
        lately.answered_per_second(over),
        at(0.5),
        at(0.95),
        at(0.99),
        all.failed()
    );
    let Some(width) = progress.width else {
        return line;
    };
    let room = width.saturating_sub(line.chars().count() + 4).min(30);
    if room < 5 {
        // A longer line would begin a new one each time.
        return line.chars().take(width.saturating_sub(1)).collect();
    }
    let filled = (share * room as f64).round() as usize;
    let (filled, left) = ("█".repeat(filled), "░".repeat(room.saturating_sub(filled)));
    format!("{filled}{left} {line}")
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
    use crate::{report::tests::report, stats::ErrorKind, threshold::Threshold};

    #[test]
    fn a_report_says_what_was_asked_for_what_came_and_what_failed() {
        let mut stats = Stats {
            due: 10,
            ..Stats::default()
        };
        let ms = Duration::from_millis(2);
        (0..8).for_each(|_| stats.answer(0, 200, ms, ms));
        stats.answer(0, 503, ms, ms);
        stats.error(0, ErrorKind::Status);
        stats.error(0, ErrorKind::Timeout);
        let verdict = Threshold::parse("errors<1%")
            .unwrap()
            .judge(&stats, Duration::from_secs(1));
        let text = text(&report(&stats, vec![verdict]));
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

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        let progress = |width| Progress {
            elapsed: Duration::from_secs(5),
            length: Duration::from_secs(10),
            rate: Some(50.0),
            width,
        };
        let stats = Stats::default();
        let of = |width| line(&stats, Duration::from_secs(1), &stats, &progress(width));
        assert!(of(None).starts_with(" 50 %"), "{}", of(None));
        for width in [20, 80, 125, 130, 140, 200, 400] {
            let line = of(Some(width));
            assert!(line.chars().count() < width, "{width}: {line}");
        }
        assert_eq!(of(Some(400)).matches('█').count(), 15);
    }
}
