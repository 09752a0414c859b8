//! A trace as a waterfall: spans below whom they were called by, each with its place in time.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::logs;
use crate::{collector::short, output};

/// Columns of the timeline.
const TIMELINE: usize = 40;
/// The longest name that is shown whole.
const NAME: usize = 60;

/// A trace as the collector tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Trace {
    pub(crate) trace_id: String,
    pub(crate) spans: Vec<Span>,
    pub(crate) complete: bool,
}

/// One span of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Span {
    span_id: String,
    parent_span_id: Option<String>,
    unit: String,
    operation: String,
    start_us: u64,
    duration_ns: u64,
    status: String,
    #[serde(default)]
    status_message: String,
    #[serde(default)]
    attributes: Option<Map<String, Value>>,
    #[serde(default)]
    events: Option<Vec<Value>>,
}

impl Span {
    fn end_ns(&self) -> u64 {
        self.start_us
            .saturating_mul(1_000)
            .saturating_add(self.duration_ns)
    }
}

impl Trace {
    /// When its first span began.
    pub(crate) fn began_us(&self) -> u64 {
        self.spans
            .iter()
            .map(|span| span.start_us)
            .min()
            .unwrap_or_default()
    }

    fn took_ns(&self) -> u64 {
        let end_ns = self
            .spans
            .iter()
            .map(Span::end_ns)
            .max()
            .unwrap_or_default();
        end_ns.saturating_sub(self.began_us().saturating_mul(1_000))
    }

    /// Each span with how deep it is below its root; callers before the called, in the order of time.
    fn in_order(&self) -> Vec<(usize, &Span)> {
        let ids: HashSet<&str> = self.spans.iter().map(|span| &*span.span_id).collect();
        let mut children: HashMap<&str, Vec<&Span>> = HashMap::new();
        let mut roots = Vec::new();
        for span in &self.spans {
            match span.parent_span_id.as_deref() {
                Some(parent) if ids.contains(parent) && parent != span.span_id => {
                    children.entry(parent).or_default().push(span);
                }
                _ => roots.push(span),
            }
        }
        let mut order = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting: Vec<(usize, &Span)> = Vec::new();
        // Spans that are each other's callers have no root: they are shown as roots, not left out.
        for root in roots.into_iter().chain(&self.spans) {
            waiting.push((0, root));
            while let Some((depth, span)) = waiting.pop() {
                if !seen.insert(&*span.span_id) {
                    continue;
                }
                order.push((depth, span));
                let mut below = children.remove(&*span.span_id).unwrap_or_default();
                below.sort_by_key(|span| std::cmp::Reverse(span.start_us));
                waiting.extend(below.into_iter().map(|span| (depth + 1, span)));
            }
        }
        order
    }
}

/// The whole of it, in lines.
pub(crate) fn text(trace: &Trace, verbose: bool) -> String {
    let (began_us, took_ns) = (trace.began_us(), trace.took_ns());
    let units: BTreeSet<&str> = trace.spans.iter().map(|span| &*span.unit).collect();
    let errors = trace.spans.iter().filter(|span| span.status == "error");
    let mut head = format!(
        "trace {} began {} took {}: {} spans in {} units, {} errors",
        trace.trace_id,
        logs::time(began_us),
        took(took_ns),
        trace.spans.len(),
        units.len(),
        errors.count()
    );
    if !trace.complete {
        head.push_str(" (more spans are not shown)");
    }
    let order = trace.in_order();
    let rows: Vec<Vec<String>> = order
        .iter()
        .map(|(depth, span)| {
            let indent = "  ".repeat(*depth);
            let from_ns = (span.start_us - began_us).saturating_mul(1_000);
            vec![
                short(&span.unit).to_owned(),
                format!("{indent}{}", cut(&span.operation)),
                format!("+{}", took(from_ns)),
                took(span.duration_ns),
                bar(from_ns, span.duration_ns, took_ns),
                note(span),
            ]
        })
        .collect();
    let header = ["UNIT", "OPERATION", "BEGAN", "TOOK", "WHEN", ""];
    let table = output::table(&header, &rows);
    let mut lines = vec![head, String::new()];
    let mut table = table.lines();
    lines.extend(table.next().map(str::to_owned));
    for (line, (_, span)) in table.zip(&order) {
        lines.push(line.to_owned());
        if verbose {
            lines.extend(details(span));
        }
    }
    lines.join("\n")
}

/// What went wrong.
fn note(span: &Span) -> String {
    match (&*span.status, &*span.status_message) {
        ("error", "") => "error".to_owned(),
        ("error", why) => format!("error: {}", cut(why)),
        _ => String::new(),
    }
}

fn details(span: &Span) -> Vec<String> {
    let attributes = span.attributes.iter().flatten();
    let mut lines: Vec<String> = attributes
        .map(|(name, found)| format!("      {name} = {}", output::value(found)))
        .collect();
    for event in span.events.iter().flatten() {
        lines.push(format!("      event {event}"));
    }
    lines
}

/// A span's place in the trace's time: at least one column, and never beyond the last.
fn bar(from_ns: u64, length_ns: u64, whole_ns: u64) -> String {
    let whole = u128::from(whole_ns.max(1));
    let column = |ns: u64| {
        let column = u128::from(ns) * TIMELINE as u128 / whole;
        usize::try_from(column).unwrap_or(TIMELINE).min(TIMELINE)
    };
    let from = column(from_ns).min(TIMELINE - 1);
    let to = column(from_ns.saturating_add(length_ns)).max(from + 1);
    format!(
        "{}{}{}",
        "·".repeat(from),
        "█".repeat(to - from),
        "·".repeat(TIMELINE - to)
    )
}

fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= NAME {
        return line.to_owned();
    }
    let kept: String = line.chars().take(NAME - 1).collect();
    format!("{kept}…")
}

/// A duration for people, in three digits or so.
pub(crate) fn took(ns: u64) -> String {
    let of = |unit: f64| ns as f64 / unit;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.0} µs", of(1e3)),
        1_000_000..1_000_000_000 => format!("{:.2} ms", of(1e6)),
        _ => format!("{:.2} s", of(1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, start_us: u64, took_us: u64) -> Span {
        Span {
            span_id: id.to_owned(),
            parent_span_id: parent.map(str::to_owned),
            unit: format!("observastack-{id}.service"),
            operation: format!("work of {id}"),
            start_us,
            duration_ns: took_us * 1_000,
            status: if id == "c" { "error" } else { "unset" }.to_owned(),
            status_message: String::new(),
            attributes: None,
            events: None,
        }
    }

    fn trace(spans: Vec<Span>) -> Trace {
        Trace {
            trace_id: "f".repeat(32),
            spans,
            complete: true,
        }
    }

    #[test]
    fn callers_come_before_the_called_in_the_order_of_time() {
        let trace = trace(vec![
            span("late", Some("a"), 1_500_060, 10),
            span("c", Some("b"), 1_500_020, 20),
            span("b", Some("a"), 1_500_010, 40),
            span("a", None, 1_500_000, 100),
            span("orphan", Some("gone"), 1_500_030, 10),
        ]);
        let order: Vec<_> = trace
            .in_order()
            .into_iter()
            .map(|(depth, span)| (depth, &*span.span_id))
            .collect();
        assert_eq!(
            order,
            [(0, "a"), (1, "b"), (2, "c"), (1, "late"), (0, "orphan")]
        );
        let lines = text(&trace, false);
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(
            lines[0],
            format!(
                "trace {} began 1970-01-01T00:00:01.500Z took 100 µs: 5 spans in 5 units, 1 errors",
                "f".repeat(32)
            )
        );
        assert_eq!(
            lines[5],
            "c           work of c   +20 µs  20 µs   ········████████························  error"
        );
    }

    #[test]
    fn spans_that_call_each_other_end_somewhere_and_are_all_shown() {
        let trace = trace(vec![
            span("a", Some("b"), 1, 1),
            span("b", Some("a"), 2, 1),
            span("self", Some("self"), 3, 1),
        ]);
        assert_eq!(trace.in_order().len(), 3);
    }

    #[test]
    fn a_bar_has_always_the_same_width_and_something_in_it() {
        for (from, length, whole) in [
            (0, 0, 0),
            (0, 100, 100),
            (100, 0, 100),
            (99, 50, 100),
            (3, 1, u64::MAX),
        ] {
            let bar = bar(from, length, whole);
            assert_eq!(bar.chars().count(), TIMELINE, "{bar}");
            assert!(bar.contains('█'), "{bar}");
        }
        assert_eq!(
            bar(50, 25, 100),
            format!("{}{}{}", "·".repeat(20), "█".repeat(10), "·".repeat(10))
        );
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        let shown = [0, 999, 1_500, 12_340_000, 2_500_000_000].map(took);
        assert_eq!(shown, ["0 ns", "999 ns", "2 µs", "12.34 ms", "2.50 s"]);
    }
}
