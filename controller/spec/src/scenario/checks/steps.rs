//! Steps, and the names that they and the checks share.

use std::collections::BTreeSet;

use super::{
    Action, At, Check, FaultStep, LatencyBound, PromqlBound, SERVICES, Sealed, ShareBound, UNITS,
    Wrong,
};
use crate::{
    HumanDuration,
    scenario::{
        action::{Config, Load},
        sealed::{Repair, Step},
    },
};

/// A drill's time at most, if a fault is to hold for all of it.
const LONGEST_MINUTES: u32 = 50;

/// Steps at most; and kinds of noise, each of which happens again and again: a plan has a bound.
const MOST_STEPS: usize = 200;
const MOST_NOISE: usize = 20;

/// A scenario's steps, with what can be referred to.
pub(super) struct Steps<'a> {
    sealed: &'a Sealed,
    faults: BTreeSet<&'a str>,
    minutes: Option<u32>,
}

impl<'a> Steps<'a> {
    pub(super) fn of(sealed: &'a Sealed, minutes: Option<u32>) -> Self {
        Self {
            sealed,
            faults: faults(sealed).map(|fault| fault.name.as_str()).collect(),
            minutes,
        }
    }

    pub(super) fn check(&self, wrong: &mut Wrong) {
        let sealed = self.sealed;
        load(&sealed.load, wrong);
        for step in &sealed.steps.value {
            self.step(step, wrong);
        }
        wrong.unless(sealed.steps.len() <= MOST_STEPS, &sealed.steps, || {
            format!(
                "steps: there are {}; use {MOST_STEPS} at most",
                sealed.steps.len()
            )
        });
        if let Some(one) = sealed.noise.get(MOST_NOISE) {
            let count = sealed.noise.len();
            wrong.add(
                &one.every,
                format!("noise: there are {count} kinds; use {MOST_NOISE} at most"),
            );
        }
        let has_time = sealed.steps.iter().any(|step| step.at.is_some());
        let is_empty = sealed.steps.is_empty();
        wrong.unless(is_empty || has_time, &sealed.steps, || {
            "steps: none has a time (`at`), so nothing would ever begin".to_owned()
        });
        for noise in &sealed.noise {
            wrong.time("every", &noise.every, "5s", "1h");
            self.action(&noise.action, wrong);
        }
        for action in &sealed.repaired.replay {
            self.action(action, wrong);
        }
        let mut seen = BTreeSet::new();
        for fault in faults(sealed) {
            wrong.name("name", &fault.name);
            wrong.unless(seen.insert(fault.name.as_str()), &fault.name, || {
                format!("name: another fault is called `{}` already", *fault.name)
            });
        }
    }

    fn step(&self, step: &Step, wrong: &mut Wrong) {
        let whens = [step.at.is_some(), step.when.is_some(), step.on.is_some()];
        wrong.unless(
            whens.iter().filter(|is| **is).count() == 1,
            &step.action,
            || "this step needs one of `at`, `when` and `on`, and one only".to_owned(),
        );
        wrong.unless(
            step.jitter.is_none() || step.at.is_some(),
            &step.action,
            || "jitter: only a step with `at` has a time to be late for".to_owned(),
        );
        if let (Some(at), Some(minutes)) = (&step.at, self.minutes) {
            let jitter = step.jitter.map(HumanDuration::get).unwrap_or_default();
            let latest = at.get().saturating_add(jitter);
            wrong.unless(latest.as_secs() < u64::from(minutes) * 60, at, || {
                let comes = if jitter.is_zero() {
                    "comes"
                } else {
                    "may come, with its jitter,"
                };
                format!("at: the drill takes {minutes} minutes, this {comes} after it")
            });
        }
        if let Some(check) = &step.when {
            self.check_one(check, check, wrong);
        }
        self.action(&step.action, wrong);
    }

    fn action(&self, action: &At<Action>, wrong: &mut Wrong) {
        match &action.value {
            Action::Load(given) => load(given, wrong),
            Action::Rate(rate) => {
                per_second(&rate.per_second, wrong);
                if let Some(over) = &rate.over {
                    wrong.time("over", over, "1s", "1h");
                }
            }
            Action::StopLoad(_) => {}
            Action::Config(given) => config(given, wrong),
            Action::Restart(unit) => wrong.one_of("restart", unit, &UNITS),
            Action::Fault(fault) => {
                let lasts = fault.with.contains_key("for");
                wrong.unless(
                    lasts || self.minutes.is_none_or(|minutes| minutes <= LONGEST_MINUTES),
                    &fault.name,
                    || {
                        format!(
                            "name: a fault holds for an hour at most: say how long (`for`), or use {LONGEST_MINUTES} minutes at most in scenario.yaml"
                        )
                    },
                );
                if let Err(errors) = fault.request(None) {
                    wrong.0.extend(errors);
                }
            }
            Action::Clear(name) => self.fault("clear", name, wrong),
            Action::Sql(sql) => {
                wrong.words("do", &sql.statements, 4000);
                wrong.words("undo", &sql.undo, 4000);
            }
            Action::File(file) => wrong.one_of("state", &file.state, file.file.states()),
            Action::Notify(notify) => wrong.words("text", &notify.text, 1000),
            Action::Hint(number) => {
                let hints = self.sealed.hints.len();
                wrong.unless(
                    (1..=hints).contains(&(number.value as usize)),
                    number,
                    || {
                        format!(
                            "hint: there is no number {}; there are {hints}",
                            number.value
                        )
                    },
                );
            }
            Action::Check(wait) => {
                for check in &wait.that.value {
                    self.check_one(check, &wait.that, wrong);
                }
            }
        }
    }

    fn fault(&self, field: &str, name: &At<String>, wrong: &mut Wrong) {
        wrong.unless(self.faults.contains(name.as_str()), name, || {
            let known: Vec<&str> = self.faults.iter().copied().collect();
            let known = if known.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            format!("{field}: no fault is called `{}`; {known}", name.value)
        });
    }

    /// One check; `place` is where to point at for what has no place of its own.
    pub(super) fn check_one<T>(&self, check: &Check, place: &At<T>, wrong: &mut Wrong) {
        let bounded = |below: bool, at_least: bool, wrong: &mut Wrong| {
            wrong.unless(below || at_least, place, || {
                format!("{check}: needs `below`, `at-least` or both")
            });
        };
        match check {
            Check::Goodput(ShareBound { below, at_least })
            | Check::Errors(ShareBound { below, at_least }) => {
                bounded(below.is_some(), at_least.is_some(), wrong);
            }
            Check::Latency(LatencyBound {
                quantile,
                below,
                at_least,
            }) => {
                bounded(below.is_some(), at_least.is_some(), wrong);
                let is_right = quantile.value > 0.0 && quantile.value < 1.0;
                wrong.unless(is_right, quantile, || {
                    format!(
                        "quantile: {} is not allowed; use 0.5 to 0.999",
                        quantile.value
                    )
                });
            }
            Check::Promql(PromqlBound {
                query,
                below,
                at_least,
            }) => {
                bounded(below.is_some(), at_least.is_some(), wrong);
                wrong.words("query", query, 2000);
            }
            Check::Sql(value) => wrong.words("query", &value.query, 2000),
            Check::Http(answer) => {
                wrong.unless(answer.get.starts_with('/'), &answer.get, || {
                    format!(
                        "get: `{}` is not allowed; use a path of the gateway, such as /products",
                        *answer.get
                    )
                });
                wrong.unless(
                    (100..=599).contains(&answer.status.value),
                    &answer.status,
                    || format!("status: {} is not allowed; use 100 to 599", *answer.status),
                );
            }
            Check::Acted(name) => self.fault("acted", name, wrong),
            Check::Active(unit) => wrong.one_of("active", unit, &UNITS),
        }
    }
}

/// Every fault of the steps, noise and replay.
fn faults(sealed: &Sealed) -> impl Iterator<Item = &FaultStep> {
    let steps = sealed.steps.iter().map(|step| &step.action);
    let noise = sealed.noise.iter().map(|noise| &noise.action);
    steps.chain(noise).filter_map(|action| match &action.value {
        Action::Fault(fault) => Some(fault),
        _ => None,
    })
}

fn load(load: &Load, wrong: &mut Wrong) {
    wrong.name("shape", &load.shape);
    if let Some(rate) = &load.rate {
        per_second(rate, wrong);
    }
}

fn per_second(rate: &At<f64>, wrong: &mut Wrong) {
    wrong.unless((0.1..=10_000.0).contains(&rate.value), rate, || {
        format!(
            "rate: {} a second is not allowed; use 0.1 to 10000",
            rate.value
        )
    });
}

fn config(config: &Config, wrong: &mut Wrong) {
    wrong.one_of("service", &config.service, &SERVICES);
    wrong.unless(!config.set.is_empty(), &config.set, || {
        "set: is empty; say which fields change".to_owned()
    });
    for path in config.set.keys() {
        // A merge patch puts an object in a list's place.
        let has_index = path.split('.').any(|part| part.parse::<usize>().is_ok());
        wrong.unless(!has_index, &config.set, || {
            format!("set: `{path}` is not allowed; a list is set as a whole")
        });
    }
}

/// One thing that a solution does.
pub(super) fn repair(step: &At<Repair>, wrong: &mut Wrong) {
    match &step.value {
        Repair::Config(given) => config(given, wrong),
        Repair::Restart(unit) => wrong.one_of("restart", unit, &UNITS),
        Repair::Start(unit) => wrong.one_of("start", unit, &UNITS),
        Repair::Stop(unit) => wrong.one_of("stop", unit, &UNITS),
        Repair::Sql(statements) => wrong.words("sql", statements, 4000),
        Repair::Shell(command) => wrong.words("shell", command, 4000),
        Repair::Wait(time) => wrong.unless(time.get().as_secs() <= 600, step, || {
            format!("wait: {time} is too long; use 10m at most")
        }),
    }
}
