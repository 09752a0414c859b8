//! Many profiles, one tree.

use std::collections::HashMap;

use serde::Serialize;

use observastack_telemetry::pprof::{Location, Profile};

/// Frames of the tree at most; what is beyond is counted in its parent.
const FRAMES: usize = 20_000;
/// Frames of one stack at most, from the root.
const DEPTH: usize = 256;

/// A flame graph.
#[derive(Clone, Debug, Serialize)]
pub struct FlameGraph {
    /// How many profiles are in it.
    pub profiles: usize,
    /// How many could not be read.
    pub unreadable: usize,
    /// What is counted, e.g. `cpu`.
    pub sample_type: String,
    /// Its unit, e.g. `nanoseconds`.
    pub unit: String,
    /// All of it.
    pub root: Flame,
}

/// One frame, and what is above it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flame {
    /// The function.
    pub name: String,
    /// With everything that it called.
    pub total: i64,
    /// Without.
    #[serde(rename = "self")]
    pub own: i64,
    /// What it called, the largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Flame>,
}

/// The tree while it grows: frames by number, 0 is the root.
#[derive(Debug)]
pub(crate) struct Merge {
    frames: Vec<Frame>,
    profiles: usize,
    unreadable: usize,
    sample_type: String,
    unit: String,
}

#[derive(Debug, Default)]
struct Frame {
    name: String,
    own: i64,
    children: HashMap<String, usize>,
}

impl Merge {
    /// Nothing yet; `sample_type` says what to count, and empty means each profile's first.
    pub(crate) fn new(sample_type: &str) -> Self {
        Self {
            frames: vec![Frame {
                name: "all".to_owned(),
                ..Frame::default()
            }],
            profiles: 0,
            unreadable: 0,
            sample_type: sample_type.to_owned(),
            unit: String::new(),
        }
    }

    pub(crate) fn unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Adds one profile; one without the wanted type adds nothing.
    pub(crate) fn add(&mut self, profile: &Profile) {
        let wanted = &self.sample_type;
        let index = profile
            .sample_type
            .iter()
            .position(|kind| wanted.is_empty() || profile.text(kind.kind) == wanted);
        let Some((index, kind)) =
            index.and_then(|index| Some((index, profile.sample_type.get(index)?)))
        else {
            self.unreadable += 1;
            return;
        };
        self.profiles += 1;
        // The first profile decides for all: nanoseconds are not added to counts.
        self.sample_type = profile.text(kind.kind).to_owned();
        self.unit = profile.text(kind.unit).to_owned();
        let functions: HashMap<u64, &str> = profile
            .function
            .iter()
            .map(|function| (function.id, profile.text(function.name)))
            .collect();
        let locations: HashMap<u64, &Location> = profile
            .location
            .iter()
            .map(|location| (location.id, location))
            .collect();
        for sample in &profile.sample {
            let value = sample.value.get(index).copied().unwrap_or(0);
            let mut at = 0;
            let stack = sample
                .location_id
                .iter()
                .rev()
                .filter_map(|id| locations.get(id));
            let names = stack.flat_map(|location| names(location, &functions));
            for name in names.take(DEPTH) {
                match self.child(at, name) {
                    Some(child) => at = child,
                    None => break,
                }
            }
            if let Some(frame) = self.frames.get_mut(at) {
                frame.own = frame.own.saturating_add(value);
            }
        }
    }

    fn child(&mut self, parent: usize, name: String) -> Option<usize> {
        let next = self.frames.len();
        let children = &mut self.frames.get_mut(parent)?.children;
        if let Some(child) = children.get(&name) {
            return Some(*child);
        }
        if next >= FRAMES {
            return None;
        }
        children.insert(name.clone(), next);
        self.frames.push(Frame {
            name,
            ..Frame::default()
        });
        Some(next)
    }

    /// The tree as it is shown.
    pub(crate) fn finish(self) -> FlameGraph {
        // A child's number is above its parent's: backwards, every child is done before its parent.
        let mut done: Vec<Option<Flame>> = Vec::new();
        done.resize_with(self.frames.len(), || None);
        for (number, frame) in self.frames.into_iter().enumerate().rev() {
            let mut children: Vec<Flame> = frame
                .children
                .values()
                .filter_map(|child| done.get_mut(*child)?.take())
                .collect();
            children.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.name.cmp(&b.name)));
            let total = children
                .iter()
                .fold(frame.own, |sum, child| sum.saturating_add(child.total));
            if let Some(place) = done.get_mut(number) {
                *place = Some(Flame {
                    name: frame.name,
                    total,
                    own: frame.own,
                    children,
                });
            }
        }
        let root = done.into_iter().next().flatten().unwrap_or(Flame {
            name: "all".to_owned(),
            total: 0,
            own: 0,
            children: Vec::new(),
        });
        FlameGraph {
            profiles: self.profiles,
            unreadable: self.unreadable,
            sample_type: self.sample_type,
            unit: self.unit,
            root,
        }
    }
}

/// The functions at a location, the outermost first; the address where it has none.
fn names(location: &Location, functions: &HashMap<u64, &str>) -> Vec<String> {
    if location.line.is_empty() {
        return vec![format!("0x{:x}", location.address)];
    }
    let name = |id: &u64| match functions.get(id) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => "?".to_owned(),
    };
    location
        .line
        .iter()
        .rev()
        .map(|line| name(&line.function_id))
        .collect()
}

#[cfg(test)]
mod tests {
    use observastack_telemetry::pprof::{Function, Line, Sample, ValueType};

    use super::*;

    fn profile(stacks: &[(&[u64], i64)]) -> Profile {
        let names = ["", "cpu", "nanoseconds", "main", "work", "wait"];
        let number = |index: usize| (index as u64, index as i64);
        Profile {
            sample_type: vec![ValueType { kind: 1, unit: 2 }],
            sample: stacks
                .iter()
                .map(|(stack, value)| Sample {
                    location_id: stack.to_vec(),
                    value: vec![*value],
                })
                .collect(),
            location: (3..6)
                .map(|index| Location {
                    id: index,
                    address: 0,
                    line: vec![Line { function_id: index }],
                })
                .collect(),
            function: (3..6)
                .map(number)
                .map(|(id, name)| Function { id, name })
                .collect(),
            string_table: names.map(str::to_owned).to_vec(),
            ..Profile::default()
        }
    }

    #[test]
    fn stacks_of_two_profiles_become_one_tree_that_adds_up() {
        let mut merge = Merge::new("");
        merge.add(&profile(&[(&[4, 3], 10), (&[3], 1)]));
        merge.add(&profile(&[(&[4, 3], 5), (&[5, 3], 20)]));
        let graph = merge.finish();
        assert_eq!((graph.profiles, graph.root.total), (2, 36));
        assert_eq!(graph.unit, "nanoseconds");
        let main = &graph.root.children[0];
        assert_eq!((main.name.as_str(), main.total, main.own), ("main", 36, 1));
        let above: Vec<_> = main
            .children
            .iter()
            .map(|child| (child.name.as_str(), child.total))
            .collect();
        assert_eq!(above, [("wait", 20), ("work", 15)]);
    }

    #[test]
    fn a_stack_without_an_end_is_cut() {
        let mut merge = Merge::new("");
        merge.add(&profile(&[(&[4; 5_000], 1)]));
        let mut depth = 0;
        let mut flame = &merge.finish().root;
        while let Some(child) = flame.children.first() {
            flame = child;
            depth += 1;
        }
        assert_eq!((depth, flame.own), (DEPTH, 1));
    }

    #[test]
    fn what_is_not_there_counts_as_unreadable() {
        let mut merge = Merge::new("alloc_space");
        merge.add(&profile(&[(&[3], 1)]));
        assert_eq!(merge.finish().unreadable, 1);
    }
}
