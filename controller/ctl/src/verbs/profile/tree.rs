//! A tree of functions and what each weighs.

use std::collections::HashMap;

use observastack_spec::profile::ProfileReport;
use serde::{Deserialize, Serialize};

/// A function, and what it called.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Frame {
    pub(super) name: String,
    /// With everything that it called.
    pub(super) total: i64,
    /// Without.
    #[serde(rename = "self")]
    pub(super) own: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) children: Vec<Frame>,
}

impl Frame {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            total: 0,
            own: 0,
            children: Vec::new(),
        }
    }

    /// The tree of a profile's stacks, in nanoseconds.
    pub(super) fn of(report: &ProfileReport) -> Self {
        let mut root = Self::new("all");
        for stack in &report.stacks {
            let weight = i64::try_from(stack.time_ns).unwrap_or(i64::MAX);
            let mut at = &mut root;
            at.total = at.total.saturating_add(weight);
            for name in &stack.frames {
                let known = at.children.iter().position(|child| child.name == *name);
                let index = known.unwrap_or_else(|| {
                    at.children.push(Self::new(name));
                    at.children.len() - 1
                });
                at = &mut at.children[index];
                at.total = at.total.saturating_add(weight);
            }
            at.own = at.own.saturating_add(weight);
        }
        root.sort();
        root
    }

    /// The largest first, as the collector has it.
    fn sort(&mut self) {
        self.children
            .sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
        for child in &mut self.children {
            child.sort();
        }
    }
}

/// What each function uses itself and with what it calls. One that calls itself counts once.
pub(super) fn functions(root: &Frame) -> Vec<(&str, i64, i64)> {
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

/// `a;b;c 12` for each stack that has a weight of its own.
pub(super) fn folded(root: &Frame) -> Vec<String> {
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
pub(super) mod tests {
    use observastack_spec::profile::StackReport;

    use super::*;

    /// A function that weighs so much itself.
    pub(in super::super) fn frame(name: &str, own: i64, children: Vec<Frame>) -> Frame {
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
    fn stacks_become_a_tree() {
        let stack = |frames: &[&str], time_ns| StackReport {
            frames: frames.iter().map(|&name| name.to_owned()).collect(),
            count: 1,
            time_ns,
        };
        let report = ProfileReport {
            stacks: vec![
                stack(&["main"], 1),
                stack(&["main", "walk"], 4),
                stack(&["main", "walk", "walk"], 2),
                stack(&["main", "walk", "walk", "leaf"], 3),
            ],
            ..ProfileReport::default()
        };
        assert_eq!(Frame::of(&report), graph());
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
