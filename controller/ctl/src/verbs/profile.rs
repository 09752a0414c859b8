//! `profile`: where a unit spends its CPU time.

use std::{collections::HashMap, process::ExitCode};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    collector::{Between, Collector, Query, unit},
    failure::Failure,
    output,
};

/// Show where a unit spends its CPU time: its functions, merged from the profiles of some time.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Profile {
    /// The unit, such as api@1.
    unit: String,
    #[command(flatten)]
    between: Between,
    /// The functions that use most.
    #[arg(long, value_name = "N", default_value_t = 25)]
    top: usize,
    /// One line per stack with its weight, as flame graph programs read them.
    #[arg(long, conflicts_with = "top")]
    folded: bool,
}

/// A flame graph as the collector tells it.
#[derive(Debug, Deserialize, Serialize)]
struct Graph {
    profiles: usize,
    unreadable: usize,
    sample_type: String,
    unit: String,
    root: Frame,
}

#[derive(Debug, Deserialize, Serialize)]
struct Frame {
    name: String,
    total: i64,
    #[serde(rename = "self")]
    own: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    children: Vec<Frame>,
}

/// Prints the functions, or the stacks.
pub(crate) async fn run(
    profile: &Profile,
    collector: &Collector,
    json: bool,
) -> Result<ExitCode, Failure> {
    let name = unit(&profile.unit);
    let service = name.strip_suffix(".service").unwrap_or(&name);
    let query = Query::default()
        .with("service", Some(service))
        .with("limit", Some(1_000))
        .between(&profile.between);
    let graph: Graph = collector.ask("/api/flamegraph", &query).await?;
    if json {
        output::json(&graph);
        return Ok(ExitCode::SUCCESS);
    }
    if graph.profiles == 0 {
        output::line(format!("no profiles of {service} in this time"));
        return Ok(ExitCode::SUCCESS);
    }
    if profile.folded {
        output::line(folded(&graph.root).join("\n"));
        return Ok(ExitCode::SUCCESS);
    }
    output::line(format!(
        "{} profiles of {service}, {} in {}",
        graph.profiles,
        weight(graph.root.total, &graph.unit),
        graph.sample_type
    ));
    if graph.unreadable > 0 {
        output::line(format!("{} more could not be read", graph.unreadable));
    }
    output::line(format!("\n{}", top(&graph.root, &graph.unit, profile.top)));
    Ok(ExitCode::SUCCESS)
}

fn weight(value: i64, unit: &str) -> String {
    match unit {
        "nanoseconds" => format!("{:.2} s", value as f64 / 1e9),
        "" => value.to_string(),
        unit => format!("{value} {unit}"),
    }
}

/// What each function uses itself and with what it calls. One that calls itself counts once.
fn functions(root: &Frame) -> Vec<(&str, i64, i64)> {
    fn visit<'a>(
        frame: &'a Frame,
        above: &mut Vec<&'a str>,
        sums: &mut HashMap<&'a str, (i64, i64)>,
    ) {
        let sum = sums.entry(&frame.name).or_default();
        sum.0 += frame.own;
        if !above.contains(&&*frame.name) {
            sum.1 += frame.total;
        }
        above.push(&frame.name);
        for child in &frame.children {
            visit(child, above, sums);
        }
        above.pop();
    }
    let mut sums = HashMap::new();
    for child in &root.children {
        visit(child, &mut Vec::new(), &mut sums);
    }
    let mut functions: Vec<_> = sums
        .into_iter()
        .map(|(name, (own, total))| (name, own, total))
        .collect();
    functions.sort_by_key(|(name, own, total)| (-own, -total, *name));
    functions
}

fn top(root: &Frame, unit: &str, count: usize) -> String {
    let share = |value: i64| format!("{:.1} %", value as f64 * 100.0 / root.total.max(1) as f64);
    let rows: Vec<Vec<String>> = functions(root)
        .into_iter()
        .take(count)
        .map(|(name, own, total)| {
            vec![
                weight(own, unit),
                share(own),
                weight(total, unit),
                share(total),
                name.to_owned(),
            ]
        })
        .collect();
    output::table(&["SELF", "", "TOTAL", "", "FUNCTION"], &rows)
}

/// `a;b;c 12` for each stack that has a weight of its own.
fn folded(root: &Frame) -> Vec<String> {
    fn visit(frame: &Frame, above: &str, lines: &mut Vec<String>) {
        let name = frame.name.replace([';', '\n'], ":");
        let stack = if above.is_empty() {
            name
        } else {
            format!("{above};{name}")
        };
        if frame.own > 0 {
            lines.push(format!("{stack} {}", frame.own));
        }
        for child in &frame.children {
            visit(child, &stack, lines);
        }
    }
    let mut lines = Vec::new();
    for child in &root.children {
        visit(child, "", &mut lines);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, own: i64, children: Vec<Frame>) -> Frame {
        Frame {
            name: name.to_owned(),
            total: own + children.iter().map(|child| child.total).sum::<i64>(),
            own,
            children,
        }
    }

    fn graph() -> Frame {
        let again = frame("walk", 2, vec![frame("leaf", 3, vec![])]);
        frame(
            "all",
            0,
            vec![frame("main", 1, vec![frame("walk", 4, vec![again])])],
        )
    }

    #[test]
    fn a_function_that_calls_itself_counts_once() {
        assert_eq!(
            functions(&graph()),
            [("walk", 6, 9), ("leaf", 3, 3), ("main", 1, 10)]
        );
    }

    #[test]
    fn stacks_are_folded_from_the_root() {
        assert_eq!(
            folded(&graph()),
            [
                "main 1",
                "main;walk 4",
                "main;walk;walk 2",
                "main;walk;walk;leaf 3"
            ]
        );
    }
}
