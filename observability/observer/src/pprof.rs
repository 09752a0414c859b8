//! A profile as a pprof.

use std::collections::HashMap;

use observastack_spec::profile::{ProfileOf, ProfileReport};
use observastack_telemetry::pprof::{Function, Line, Location, Profile, Sample, ValueType};

/// The profile as others read it: its first value is a time in nanoseconds, its second how often.
pub(crate) fn of(report: &ProfileReport) -> Profile {
    let mut table = Table::default();
    table.text("");
    let (time, count) = match report.of {
        ProfileOf::Cpu => ("cpu", "samples"),
        ProfileOf::OffCpu => ("off_cpu", "sleeps"),
    };
    let time = ValueType {
        kind: table.text(time),
        unit: table.text("nanoseconds"),
    };
    let count = ValueType {
        kind: table.text(count),
        unit: table.text("count"),
    };
    let sample = report
        .stacks
        .iter()
        .map(|stack| Sample {
            // The innermost first.
            location_id: stack
                .frames
                .iter()
                .rev()
                .map(|name| table.place(name))
                .collect(),
            value: vec![signed(stack.time_ns), signed(stack.count)],
        })
        .collect();
    let functions = || (1..).zip(&table.functions);
    Profile {
        sample_type: vec![time.clone(), count],
        sample,
        // A function is a place: addresses have been looked up already.
        location: functions()
            .map(|(id, _)| Location {
                id,
                address: 0,
                line: vec![Line { function_id: id }],
            })
            .collect(),
        function: functions()
            .map(|(id, name)| Function { id, name: *name })
            .collect(),
        time_nanos: signed(report.at_unix_ms.saturating_mul(1_000_000)),
        duration_nanos: (report.seconds * 1e9) as i64,
        period_type: report.frequency_hz.map(|_| time),
        period: report
            .frequency_hz
            .map_or(0, |hz| 1_000_000_000 / signed(hz.max(1))),
        string_table: table.texts,
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Texts and functions, each once.
#[derive(Default)]
struct Table {
    texts: Vec<String>,
    known: HashMap<String, i64>,
    /// Names of functions; their numbers begin with 1.
    functions: Vec<i64>,
    places: HashMap<i64, u64>,
}

impl Table {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(index) = self.known.get(text) {
            return *index;
        }
        let index = signed(self.texts.len() as u64);
        self.texts.push(text.to_owned());
        self.known.insert(text.to_owned(), index);
        index
    }

    fn place(&mut self, name: &str) -> u64 {
        let name = self.text(name);
        *self.places.entry(name).or_insert_with(|| {
            self.functions.push(name);
            self.functions.len() as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use observastack_spec::profile::StackReport;

    use super::*;

    #[test]
    fn stacks_are_innermost_first_and_names_are_kept_once() {
        let stack = |frames: &[&str], count, time_ns| StackReport {
            frames: frames.iter().map(|&name| name.to_owned()).collect(),
            count,
            time_ns,
        };
        let report = ProfileReport {
            frequency_hz: Some(50),
            seconds: 2.0,
            at_unix_ms: 7,
            stacks: vec![
                stack(&["main", "work"], 3, 60),
                stack(&["main", "work", "read [k]"], 1, 20),
            ],
            ..ProfileReport::default()
        };
        let profile = of(&report);
        let name = |id: u64| {
            let function = profile.function.iter().find(|function| function.id == id);
            profile.text(function.unwrap().name)
        };
        let told: Vec<(Vec<&str>, &[i64])> = profile
            .sample
            .iter()
            .map(|sample| {
                let frames = sample.location_id.iter().map(|id| name(*id)).collect();
                (frames, &*sample.value)
            })
            .collect();
        assert_eq!(
            told,
            [
                (vec!["work", "main"], &[60, 3][..]),
                (vec!["read [k]", "work", "main"], &[20, 1][..])
            ]
        );
        assert_eq!(profile.string_table[0], "");
        assert_eq!(profile.function.len(), 3);
        assert_eq!(
            (profile.period, profile.duration_nanos, profile.time_nanos),
            (20_000_000, 2_000_000_000, 7_000_000)
        );
        let kinds: Vec<&str> = profile
            .sample_type
            .iter()
            .map(|kind| profile.text(kind.kind))
            .collect();
        assert_eq!(kinds, ["cpu", "samples"]);
    }
}
