//! What a form cannot say: ranges, names that belong together, an answer that its own solution finds.

mod answer;
mod steps;

use super::{
    At, Brief, Sealed,
    action::{Action, FaultStep},
    check::{Check, LatencyBound, PromqlBound, ShareBound},
    sealed::{Hint, Solution},
};
use crate::{HumanDuration, file::FileError};

/// Units that a scenario may restart, start and stop, by their short names.
const UNITS: [&str; 6] = [
    "gateway",
    "api@1",
    "api@2",
    "inventory",
    "worker",
    "postgresql",
];

/// Services that have a configuration; `api` is both servers.
const SERVICES: [&str; 6] = ["gateway", "inventory", "worker", "api", "api@1", "api@2"];

/// How many hints there are.
const HINTS: std::ops::RangeInclusive<usize> = 3..=6;

/// Collects what is wrong.
#[derive(Default)]
struct Wrong(Vec<FileError>);

impl Wrong {
    fn add<T>(&mut self, at: &At<T>, reason: impl Into<String>) {
        self.0.push(at.error(reason));
    }

    fn unless<T>(&mut self, is_right: bool, at: &At<T>, reason: impl FnOnce() -> String) {
        if !is_right {
            self.add(at, reason());
        }
    }

    fn words(&mut self, field: &str, text: &At<String>, most: usize) {
        let length = text.trim().chars().count();
        self.unless((1..=most).contains(&length), text, || {
            format!("{field}: {length} characters; use 1 to {most}")
        });
    }

    fn name(&mut self, field: &str, text: &At<String>) {
        self.unless(is_name(text), text, || {
            format!(
                "{field}: `{}` is not allowed; use small letters, digits and single hyphens, 40 at most",
                text.value
            )
        });
    }

    fn one_of(&mut self, field: &str, text: &At<String>, allowed: &[&str]) {
        self.unless(allowed.contains(&text.as_str()), text, || {
            format!(
                "{field}: there is no `{}`; use one of {}",
                text.value,
                allowed.join(", ")
            )
        });
    }

    fn time(&mut self, field: &str, time: &At<HumanDuration>, least: &str, most: &str) {
        let bound = |text: &str| text.parse::<HumanDuration>().ok();
        let is_right = bound(least).is_none_or(|least| time.value >= least)
            && bound(most).is_none_or(|most| time.value <= most);
        self.unless(is_right, time, || {
            format!(
                "{field}: `{}` is not allowed; use {least} to {most}",
                time.value
            )
        });
    }
}

pub(super) fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.len() <= 40 && text.split('-').all(is_part)
}

/// What is wrong in `scenario.yaml`.
pub(super) fn brief(brief: &Brief) -> Vec<FileError> {
    let mut wrong = Wrong::default();
    wrong.name("id", &brief.id);
    wrong.unless(brief.version.value >= 1, &brief.version, || {
        "version: 0 is not allowed; begin with 1".to_owned()
    });
    wrong.words("title", &brief.title, 80);
    wrong.words("briefing", &brief.briefing, 4000);
    wrong.unless(
        (5..=240).contains(&brief.minutes.value),
        &brief.minutes,
        || format!("minutes: {} is not allowed; use 5 to 240", *brief.minutes),
    );
    wrong.unless(
        (1..=6).contains(&brief.objectives.len()),
        &brief.objectives,
        || {
            format!(
                "objectives: there are {}; name 1 to 6",
                brief.objectives.len()
            )
        },
    );
    for one in &brief.prerequisites {
        wrong.name("prerequisites", one);
        wrong.unless(one.value != brief.id.value, one, || {
            "prerequisites: a drill does not need itself".to_owned()
        });
    }
    for one in &brief.needs.capabilities {
        wrong.name("capabilities", one);
    }
    wrong.0
}

/// What is wrong in `sealed.yaml`, beside its other file where that could be read.
pub(super) fn sealed(sealed: &Sealed, brief: Option<&Brief>) -> Vec<FileError> {
    let mut wrong = Wrong::default();
    if let Some(brief) = brief {
        wrong.unless(sealed.scenario == brief.id, &sealed.scenario, || {
            format!(
                "scenario: `{}` is another one than `{}` in scenario.yaml",
                *sealed.scenario, *brief.id
            )
        });
    }
    wrong.name("scenario", &sealed.scenario);
    let steps = steps::Steps::of(sealed, brief.map(|brief| brief.minutes.value));
    steps.check(&mut wrong);
    let is_quiet = answer::check(sealed, brief.is_some_and(|brief| brief.kernel), &mut wrong);
    wrong.unless(!sealed.baseline.is_empty(), &sealed.baseline, || {
        "baseline: is empty; say what holds in a healthy lab".to_owned()
    });
    let broken = &sealed.broken.that;
    wrong.unless(broken.is_empty() == is_quiet, broken, || {
        if is_quiet {
            "broken: nothing is wrong in this drill, so nothing may have to show it".to_owned()
        } else {
            "broken: is empty; say what shows that it is broken".to_owned()
        }
    });
    wrong.unless(
        !sealed.repaired.that.is_empty(),
        &sealed.repaired.that,
        || "repaired: is empty; say what holds once it is repaired".to_owned(),
    );
    wrong.time("hold", &sealed.repaired.hold, "5s", "10m");
    for list in [&sealed.baseline, broken, &sealed.repaired.that] {
        for check in &list.value {
            steps.check_one(check, list, &mut wrong);
        }
    }
    hints(&sealed.hints, &mut wrong);
    solutions(sealed, &mut wrong);
    let debrief = &sealed.debrief;
    for (field, text) in [
        ("explanation", &debrief.explanation),
        ("kernel", &debrief.kernel),
        ("prevention", &debrief.prevention),
        ("monitoring", &debrief.monitoring),
    ] {
        wrong.words(field, text, 8000);
    }
    wrong.unless(!debrief.path.is_empty(), &debrief.path, || {
        "path: is empty; tell the way from the symptom to the cause".to_owned()
    });
    wrong.0
}

fn hints(hints: &At<Vec<Hint>>, wrong: &mut Wrong) {
    wrong.unless(HINTS.contains(&hints.len()), hints, || {
        format!(
            "hints: there are {}; give {} to {}",
            hints.len(),
            HINTS.start(),
            HINTS.end()
        )
    });
    let cost: f64 = hints.iter().map(|hint| hint.cost.get()).sum();
    wrong.unless(cost < 1.0, hints, || {
        format!(
            "hints: they cost {:.0} % together; leave something of the score",
            cost * 100.0
        )
    });
    for hint in &hints.value {
        wrong.words("text", &hint.text, 1000);
    }
}

fn solutions(sealed: &Sealed, wrong: &mut Wrong) {
    let Solution { repair, .. } = &sealed.reference;
    for step in repair {
        steps::repair(step, wrong);
    }
    let bad = &sealed.bad_fixes;
    wrong.unless(!bad.is_empty(), bad, || {
        "bad-fixes: there is none; a drill is judged by what it refuses as well".to_owned()
    });
    for (name, fix) in &bad.value {
        wrong.unless(is_name(name), bad, || {
            format!("bad-fixes: `{name}` is not allowed; use small letters, digits and hyphens")
        });
        wrong.unless(!fix.repair.is_empty(), &fix.repair, || {
            format!("{name}: does nothing; that is what the solver `noop` is for")
        });
        wrong.words("why", &fix.why, 1000);
        for step in &fix.repair.value {
            steps::repair(step, wrong);
        }
    }
}
