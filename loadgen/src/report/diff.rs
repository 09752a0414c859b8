//! Two runs side by side.

use super::{Distribution, Report, text::time};

/// A table: what the first run came to, what the second, and how much that is more or less.
#[must_use]
pub fn diff(before: &Report, after: &Report) -> String {
    let mut rows = vec![
        [
            String::new(),
            "before".to_owned(),
            "after".to_owned(),
            "change".to_owned(),
        ],
        number(
            "answers/s",
            before.answered_per_second,
            after.answered_per_second,
            1,
        ),
        number(
            "errors %",
            before.error_share * 100.0,
            after.error_share * 100.0,
            3,
        ),
    ];
    let times = |name: &str, of: fn(&Distribution) -> u64| {
        let (before, after) = (of(&before.response), of(&after.response));
        [
            format!("response {name}"),
            time(before),
            time(after),
            change(before as f64, after as f64),
        ]
    };
    rows.push(times("mean", |times| times.mean_ns));
    rows.push(times("p50", |times| times.p50_ns));
    rows.push(times("p90", |times| times.p90_ns));
    rows.push(times("p99", |times| times.p99_ns));
    rows.push(times("p99.9", |times| times.p99_9_ns));
    rows.push(times("max", |times| times.max_ns));
    let mut lines: Vec<String> = rows
        .iter()
        .map(|[name, before, after, change]| {
            format!("{name:<16}{before:>14}{after:>14}{change:>12}")
        })
        .collect();
    for (name, report) in [("before", before), ("after", after)] {
        for why in &report.invalid {
            lines.push(format!("{name} does not show the target: {why}"));
        }
    }
    if before.target != after.target {
        lines.push(format!(
            "the targets differ: {} and {}",
            before.target, after.target
        ));
    }
    lines.join("\n")
}

fn number(name: &str, before: f64, after: f64, digits: usize) -> [String; 4] {
    [
        name.to_owned(),
        format!("{before:.digits$}"),
        format!("{after:.digits$}"),
        change(before, after),
    ]
}

fn change(before: f64, after: f64) -> String {
    if before == after {
        return "=".to_owned();
    }
    if before == 0.0 {
        return "from 0".to_owned();
    }
    format!("{:+.1} %", (after / before - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{report::tests::report, stats::Stats};

    #[test]
    fn changes_are_shares_of_what_was_before() {
        let run = |ms, answers| {
            let mut stats = Stats::default();
            let time = Duration::from_millis(ms);
            (0..answers).for_each(|_| stats.answer(0, 200, time, time));
            report(&stats, Vec::new())
        };
        let text = diff(&run(10, 100), &run(15, 100));
        assert!(text.contains("answers/s") && text.contains('='), "{text}");
        assert!(text.contains("+50.0 %"), "{text}");
        assert_eq!(change(0.0, 1.0), "from 0");
    }
}
