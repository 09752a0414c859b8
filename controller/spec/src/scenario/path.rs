//! The order in which drills are learned: each after its prerequisites.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Brief, brief::Difficulty};
use crate::file::FileError;

/// What is wrong with the prerequisites of a set of drills, by the drill's id: names of drills that there are not, and drills that need each other.
/// `known` has ids of drills that are there as well, and are not looked at.
#[must_use]
pub fn check<'a>(
    briefs: impl IntoIterator<Item = &'a Brief>,
    known: &BTreeSet<String>,
) -> Vec<(String, FileError)> {
    let briefs = by_id(briefs);
    let mut wrong = Vec::new();
    for (id, brief) in &briefs {
        for one in &brief.prerequisites {
            let reason = if let Some(round) = way(&briefs, one, id) {
                format!(
                    "prerequisites: `{}` needs this drill itself: {id} after {}",
                    one.value,
                    round.join(" after ")
                )
            } else if briefs.contains_key(one.as_str()) || known.contains(one.as_str()) {
                continue;
            } else {
                let all = briefs.keys().copied();
                let all: BTreeSet<&str> = all.chain(known.iter().map(String::as_str)).collect();
                let all: Vec<&str> = all.into_iter().filter(|other| other != id).collect();
                let there_are = if all.is_empty() {
                    "there are no others".to_owned()
                } else {
                    format!("there are {}", all.join(", "))
                };
                format!(
                    "prerequisites: there is no drill `{}`; {there_are}",
                    one.value
                )
            };
            wrong.push(((*id).to_owned(), one.error(reason)));
        }
    }
    wrong
}

/// The ids of all drills in the order in which they are learned: each after its prerequisites, and of those that could be next the easiest first. What
/// [`check`] finds wrong does no harm: of drills that need each other the easiest comes first.
#[must_use]
pub fn order<'a>(briefs: impl IntoIterator<Item = &'a Brief>) -> Vec<String> {
    let briefs = by_id(briefs);
    let mut left: BTreeSet<(Difficulty, &str)> = briefs
        .iter()
        .map(|(id, brief)| (brief.difficulty, *id))
        .collect();
    let mut order: Vec<String> = Vec::with_capacity(left.len());
    let mut placed = BTreeSet::new();
    while let Some(first) = left.first().copied() {
        let is_ready = |(_, id): &(Difficulty, &str)| {
            let mut needed = briefs
                .get(id)
                .into_iter()
                .flat_map(|one| &one.prerequisites);
            needed.all(|one| placed.contains(one.as_str()) || !briefs.contains_key(one.as_str()))
        };
        let next = left.iter().copied().find(is_ready).unwrap_or(first);
        left.remove(&next);
        placed.insert(next.1);
        order.push(next.1.to_owned());
    }
    order
}

fn by_id<'a>(briefs: impl IntoIterator<Item = &'a Brief>) -> BTreeMap<&'a str, &'a Brief> {
    let briefs = briefs.into_iter();
    briefs.map(|brief| (brief.id.as_str(), brief)).collect()
}

/// The shortest way from a drill to another one by prerequisites, both included.
fn way<'a>(briefs: &BTreeMap<&'a str, &'a Brief>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = VecDeque::from([vec![from]]);
    while let Some(way) = ways.pop_front() {
        let last = *way.last()?;
        if last == to {
            return Some(way);
        }
        let needed = briefs
            .get(last)
            .into_iter()
            .flat_map(|one| &one.prerequisites);
        for one in needed {
            if seen.insert(one.as_str()) {
                let mut longer = way.clone();
                longer.push(one.as_str());
                ways.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{read_brief, template};

    fn brief(id: &str, difficulty: &str, prerequisites: &str) -> Brief {
        let text = template::named(id).unwrap().brief;
        let is = text
            .lines()
            .find(|line| line.starts_with("difficulty:"))
            .unwrap();
        let text = text
            .replace(is, &format!("difficulty: {difficulty}"))
            .replace(
                "prerequisites: []",
                &format!("prerequisites: [{prerequisites}]"),
            );
        read_brief(&text).unwrap()
    }

    fn checked(briefs: &[Brief], known: &[&str]) -> Vec<String> {
        let known = known.iter().map(|id| (*id).to_owned()).collect();
        let wrong = check(briefs, &known);
        wrong
            .into_iter()
            .map(|(id, error)| format!("{id}: {}:{}: {}", error.line, error.column, error.reason))
            .collect()
    }

    #[test]
    fn drills_come_after_their_prerequisites_and_the_easier_first() {
        let briefs = [
            brief("a", "advanced", ""),
            brief("b", "beginner", "d"),
            brief("c", "intermediate", "gone"),
            brief("d", "intermediate", ""),
            brief("e", "beginner", ""),
        ];
        assert_eq!(order(&briefs), ["e", "c", "d", "b", "a"]);
        // The order in which they are given does not matter.
        assert_eq!(order(briefs.iter().rev()), order(&briefs));
    }

    #[test]
    fn names_of_no_drill_and_rounds_are_told_where_they_stand() {
        let briefs = [
            brief("a", "beginner", "b"),
            brief("b", "beginner", "c"),
            brief("c", "beginner", "e, a"),
            brief("d", "beginner", "a, x"),
        ];
        let line = template::named("a")
            .unwrap()
            .brief
            .lines()
            .position(|line| line.starts_with("prerequisites"))
            .unwrap()
            + 1;
        assert_eq!(
            checked(&briefs, &["e"]),
            [
                format!(
                    "a: {line}:17: prerequisites: `b` needs this drill itself: a after b after c after a"
                ),
                format!(
                    "b: {line}:17: prerequisites: `c` needs this drill itself: b after c after a after b"
                ),
                format!(
                    "c: {line}:20: prerequisites: `a` needs this drill itself: c after a after b after c"
                ),
                format!("d: {line}:20: prerequisites: there is no drill `x`; there are a, b, c, e"),
            ]
        );
        assert_eq!(order(&briefs), ["a", "c", "b", "d"]);
        assert_eq!(checked(&briefs[3..], &["a", "x"]), [""; 0]);
        let alone = checked(&briefs[..1], &[]);
        assert!(
            alone[0].ends_with("there is no drill `b`; there are no others"),
            "{alone:?}"
        );
    }
}
