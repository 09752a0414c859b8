//! A report as one page that needs nothing else: no script, no network. Charts are SVG, and every chart has its table.

mod chart;

use std::fmt::Write as _;

use super::{Distribution, Moment, Report, text::time};
use chart::{Chart, Line, Scale};

const STYLE: &str = include_str!("style.css");

/// The whole page.
#[must_use]
pub fn html(report: &Report) -> String {
    let title = report.name.as_deref().unwrap_or("Load");
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}: load report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p>{target}, {elapsed:.1} s, seed {seed}</p>\n",
        title = escaped(title),
        target = escaped(&report.target),
        elapsed = report.elapsed_s,
        seed = report.seed,
    );
    invalid(&mut page, report);
    summary(&mut page, report);
    thresholds(&mut page, report);
    over_time(&mut page, &report.series);
    distribution(&mut page, report);
    requests(&mut page, report);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Text as it may stand in HTML, also in an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

fn invalid(page: &mut String, report: &Report) {
    if report.invalid.is_empty() {
        return;
    }
    page.push_str(
        "<section class=\"warning\" role=\"alert\"><h2>This run does not show the target</h2><ul>",
    );
    for why in &report.invalid {
        let _ = write!(page, "<li>{}</li>", escaped(why));
    }
    page.push_str("</ul></section>\n");
}

fn summary(page: &mut String, report: &Report) {
    let errors: u64 = report.errors.values().sum();
    let kinds: Vec<String> = report
        .errors
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let tiles = [
        (
            "asked for",
            format!("{:.1}/s", report.asked_per_second),
            format!("{} requests", report.due),
        ),
        (
            "answered",
            format!("{:.1}/s", report.answered_per_second),
            format!("{} answers", report.answered),
        ),
        (
            "errors",
            format!("{:.3} %", report.error_share * 100.0),
            if errors == 0 {
                "none".to_owned()
            } else {
                kinds.join(", ")
            },
        ),
        (
            "median",
            time(report.response.p50_ns),
            "response, from when it was due".to_owned(),
        ),
        (
            "p99",
            time(report.response.p99_ns),
            format!("service {}", time(report.service.p99_ns)),
        ),
        (
            "repetitions",
            report.retries.to_string(),
            format!("{} abandoned", report.abandoned),
        ),
    ];
    page.push_str("<section class=\"tiles\">");
    for (name, value, more) in tiles {
        let _ = write!(
            page,
            "<div class=\"tile\"><span>{name}</span><strong>{value}</strong><span>{}</span></div>",
            escaped(&more)
        );
    }
    page.push_str("</section>\n");
}

fn thresholds(page: &mut String, report: &Report) {
    if report.thresholds.is_empty() {
        return;
    }
    page.push_str("<section><h2>Thresholds</h2><table><tr><th>condition</th><th>outcome</th><th>measured</th></tr>");
    for verdict in &report.thresholds {
        let (class, word) = if verdict.holds {
            ("holds", "✓ holds")
        } else {
            ("fails", "✗ does not hold")
        };
        let _ = write!(
            page,
            "<tr class=\"{class}\"><td>{}</td><td>{word}</td><td>{}</td></tr>",
            escaped(&verdict.threshold),
            escaped(&verdict.measured)
        );
    }
    page.push_str("</table></section>\n");
}

fn over_time(page: &mut String, series: &[Moment]) {
    if series.is_empty() {
        return;
    }
    let line = |name, of: &dyn Fn(&Moment) -> f64| Line {
        name,
        points: series
            .iter()
            .map(|moment| (moment.at_s + moment.length_s / 2.0, of(moment)))
            .collect(),
    };
    let per_second = |count: u64, moment: &Moment| count as f64 / moment.length_s.max(1e-9);
    let mut rates = vec![
        line("requests due", &|moment| per_second(moment.due, moment)),
        line("answered", &|moment| per_second(moment.answered, moment)),
    ];
    if series.iter().any(|moment| moment.retries > 0) {
        rates.push(line("repetitions", &|moment| {
            per_second(moment.retries, moment)
        }));
    }
    let charts = [
        Chart {
            title: "Requests per second",
            unit: "/s",
            scale: Scale::FromZero,
            lines: rates,
        },
        Chart {
            title: "Response time",
            unit: "ms",
            scale: Scale::Logarithmic,
            lines: vec![
                line("p50", &|moment| moment.p50_ns as f64 / 1e6),
                line("p95", &|moment| moment.p95_ns as f64 / 1e6),
                line("p99", &|moment| moment.p99_ns as f64 / 1e6),
                line("longest", &|moment| moment.max_ns as f64 / 1e6),
            ],
        },
        Chart {
            title: "Errors per second",
            unit: "/s",
            scale: Scale::FromZero,
            lines: vec![
                line("errors", &|moment| per_second(moment.errors, moment)),
                line("of these not sent", &|moment| {
                    per_second(moment.dropped, moment)
                }),
            ],
        },
    ];
    page.push_str("<section><h2>Over time</h2>");
    for chart in charts {
        page.push_str(&chart.svg());
    }
    page.push_str("<details><summary>The same as a table</summary><div class=\"wide\"><table><tr><th>from, s</th><th>due</th><th>answered</th><th>errors</th><th>p50</th><th>p95</th><th>p99</th><th>longest</th></tr>");
    for moment in series {
        let _ = write!(
            page,
            "<tr><td>{:.0}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            moment.at_s,
            moment.due,
            moment.answered,
            moment.errors,
            time(moment.p50_ns),
            time(moment.p95_ns),
            time(moment.p99_ns),
            time(moment.max_ns)
        );
    }
    page.push_str("</table></div></details></section>\n");
}

/// Where on an axis of nines a share is: 0.9 is 1, 0.99 is 2.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-7).log10()
}

fn distribution(page: &mut String, report: &Report) {
    let line = |name, times: &Distribution| Line {
        name,
        points: times
            .points
            .iter()
            .map(|(share, ns)| (nines(*share), *ns as f64 / 1e6))
            .collect(),
    };
    let chart = Chart {
        title: "Distribution: 0 is none of them, 1 is 90 %, 2 is 99 %, 3 is 99.9 %",
        unit: "ms",
        scale: Scale::Logarithmic,
        lines: vec![
            line("response, from due", &report.response),
            line("service, from sent", &report.service),
        ],
    };
    page.push_str("<section><h2>Times</h2>");
    page.push_str(&chart.svg());
    page.push_str("<div class=\"wide\"><table><tr><th></th><th>mean</th><th>p50</th><th>p90</th><th>p95</th><th>p99</th><th>p99.9</th><th>p99.99</th><th>longest</th></tr>");
    for (name, times) in [
        ("response, from due", &report.response),
        ("service, from sent", &report.service),
        ("generator's lateness", &report.schedule),
    ] {
        row(page, name, times);
    }
    page.push_str("</table></div></section>\n");
}

fn row(page: &mut String, name: &str, times: &Distribution) {
    let _ = write!(page, "<tr><th>{}</th>", escaped(name));
    for ns in [
        times.mean_ns,
        times.p50_ns,
        times.p90_ns,
        times.p95_ns,
        times.p99_ns,
        times.p99_9_ns,
        times.p99_99_ns,
        times.max_ns,
    ] {
        let _ = write!(page, "<td>{}</td>", time(ns));
    }
    page.push_str("</tr>");
}

fn requests(page: &mut String, report: &Report) {
    page.push_str("<section><h2>Requests</h2><div class=\"wide\"><table><tr><th>journey</th><th>request</th><th>due</th><th>answered</th><th>errors</th><th>statuses</th><th>p50</th><th>p99</th><th>longest</th></tr>");
    for endpoint in &report.endpoints {
        let statuses: Vec<String> = endpoint
            .statuses
            .iter()
            .map(|(status, count)| format!("{status}: {count}"))
            .collect();
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&endpoint.journey),
            escaped(&endpoint.name),
            endpoint.due,
            endpoint.response.count,
            endpoint.errors.values().sum::<u64>(),
            statuses.join(", "),
            time(endpoint.response.p50_ns),
            time(endpoint.response.p99_ns),
            time(endpoint.response.max_ns)
        );
    }
    page.push_str("</table></div>");
    if !report.slowest.is_empty() {
        page.push_str("<h3>Slowest traces</h3><table><tr><th>response</th><th>trace</th><th>request</th></tr>");
        for slow in &report.slowest {
            let _ = write!(
                page,
                "<tr><td>{}</td><td><code>{}</code></td><td>{}</td></tr>",
                time(slow.response_ns),
                escaped(&slow.trace_id),
                escaped(&slow.name)
            );
        }
        page.push_str("</table>");
    }
    page.push_str("</section>\n");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{report::tests::report, stats::Stats};

    #[test]
    fn a_page_needs_nothing_else_and_runs_nothing() {
        let mut stats = Stats::new(1, 1);
        for ms in 1..100 {
            let time = Duration::from_millis(ms);
            stats.answer(0, 200, time, time);
        }
        let mut report = report(&stats, Vec::new());
        report.name = Some("<script>alert(1)</script>".to_owned());
        report.series = vec![Moment {
            at_s: 0.0,
            length_s: 1.0,
            rate: None,
            due: 99,
            answered: 99,
            errors: 0,
            dropped: 0,
            retries: 0,
            p50_ns: 1,
            p95_ns: 2,
            p99_ns: 3,
            max_ns: 4,
        }];
        let page = html(&report);
        assert!(page.contains("&lt;script&gt;"), "{page}");
        for word in [
            "<script",
            "http-equiv",
            "src=",
            "href=",
            "@import",
            "url(",
            "NaN",
            "inf",
        ] {
            assert!(!page.contains(word), "{word} is in {page}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
    }
}
