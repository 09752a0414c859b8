use proptest::prelude::*;

use super::*;
use crate::{
    drill::life::Event,
    scenario::{
        answer::{Cause, Component, Diagnosis, Evidence, Mechanism, Signal},
        template,
    },
};

const MINUTE_MS: u64 = 60_000;

fn scenario() -> Scenario {
    let files = template::named("my-drill").unwrap();
    Scenario::read(&files.brief, &files.sealed).unwrap()
}

fn right() -> Diagnosis {
    Diagnosis {
        component: Component::Api1,
        mechanism: Mechanism::PacketLoss,
        cause: Cause::Network,
        evidence: vec![Evidence {
            signal: Signal::Drops,
            of: Component::Api1,
        }],
    }
}

/// A run that was broken at a minute, with events at minutes.
fn life(events: &[(u64, Event)]) -> Life {
    let (mut life, _) = Life::begin(0);
    life.take(1, Event::BaselineHolds).unwrap();
    life.take(MINUTE_MS, Event::Broken).unwrap();
    for (minute, event) in events {
        life.take(minute * MINUTE_MS, event.clone()).unwrap();
    }
    life
}

fn repaired() -> Life {
    life(&[
        (5, Event::Holds),
        (6, Event::Submit),
        (7, Event::HeldToTheEnd),
    ])
}

fn entries(happened: Vec<Happened>) -> Vec<Entry> {
    (1..)
        .zip(happened)
        .map(|(number, what)| Entry {
            number,
            at_ms: (number + 1) * MINUTE_MS,
            what,
        })
        .collect()
}

fn diagnosed(diagnosis: Diagnosis) -> Happened {
    Happened::Diagnosed { diagnosis }
}

fn unit(unit: &str) -> Happened {
    Happened::Unit {
        unit: unit.to_owned(),
        verb: "restart".to_owned(),
    }
}

fn hint(cost: f64) -> Happened {
    Happened::Hint {
        number: 1,
        cost,
        text: "look".to_owned(),
    }
}

const NO_HARM: Impact = Impact {
    due: 1000,
    failed: 0,
    slow: 0,
};

fn of(life: &Life, happened: Vec<Happened>, impact: Impact) -> Score {
    score(
        &scenario(),
        life,
        &entries(happened),
        Some(impact),
        Mode::Assessed,
    )
}

#[test]
fn a_quick_repair_for_the_right_reason_earns_everything() {
    let score = of(&repaired(), vec![diagnosed(right())], NO_HARM);
    assert_eq!((score.verdict, score.total), (Verdict::Pass, 100.0));
    assert_eq!(
        (score.detect_ms, score.diagnose_ms, score.repair_ms),
        (Some(MINUTE_MS), Some(MINUTE_MS), Some(4 * MINUTE_MS))
    );
    assert!(score.parts.iter().all(|part| !part.why.is_empty()));
}

#[test]
fn a_repair_without_a_reason_is_not_passed() {
    let score = of(&repaired(), vec![], NO_HARM);
    assert_eq!((score.verdict, score.total), (Verdict::Fail, 65.0));
}

#[test]
fn a_reason_without_a_repair_is_not_passed() {
    let gave_up = life(&[(9, Event::GiveUp)]);
    let score = of(&gave_up, vec![diagnosed(right())], NO_HARM);
    assert_eq!((score.verdict, score.total), (Verdict::Fail, 35.0));
    let late = life(&[(31, Event::TimeUp)]);
    assert_eq!(of(&late, vec![], NO_HARM).verdict, Verdict::Timeout);
    let failed = life(&[(
        2,
        Event::Failed {
            reason: "no load".to_owned(),
        },
    )]);
    assert_eq!(of(&failed, vec![], NO_HARM).verdict, Verdict::LabError);
}

#[test]
fn a_shortcut_makes_a_repair_void_unless_it_is_one_here() {
    let shortcut = |shortcut| Happened::Shortcut {
        shortcut,
        found: "the gateway refuses half of the requests".to_owned(),
    };
    let shed = vec![diagnosed(right()), shortcut(Shortcut::TrafficShed)];
    let score = of(&repaired(), shed, NO_HARM);
    assert_eq!((score.verdict, score.total), (Verdict::Fail, 35.0));
    assert!(
        score.parts[0].why.contains("TrafficShed"),
        "{:?}",
        score.parts
    );
    // The template allows an instance to be stopped.
    let stopped = vec![diagnosed(right()), shortcut(Shortcut::UnitStopped)];
    assert_eq!(of(&repaired(), stopped, NO_HARM).verdict, Verdict::Pass);
}

#[test]
fn hints_collateral_and_repairs_that_were_none_cost_something_and_are_told() {
    let happened = vec![
        diagnosed(right()),
        unit("inventory"),
        unit("inventory"),
        unit("api@1"),
        hint(0.1),
    ];
    let score = of(&repaired(), happened, NO_HARM);
    // 100 less 4 for the inventory, less a tenth of that.
    assert_eq!(score.total, 86.4);
    assert_eq!(score.collateral, ["inventory"]);
    assert_eq!(score.hints, 1);
    let twice = life(&[
        (2, Event::Submit),
        (3, Event::HoldsNoMore),
        (5, Event::Holds),
        (6, Event::Submit),
        (7, Event::HeldToTheEnd),
    ]);
    let score = of(&twice, vec![diagnosed(right())], NO_HARM);
    assert_eq!(score.total, 95.0);
    assert!(
        score.parts[0].why.contains("1 repair that did not"),
        "{:?}",
        score.parts
    );
}

#[test]
fn what_is_not_known_earns_nothing_and_what_was_before_does_not_count() {
    let scenario = scenario();
    let happened = entries(vec![diagnosed(right())]);
    let score = score(&scenario, &repaired(), &happened, None, Mode::Open);
    assert_eq!(score.total, 90.0);
    let impact = |due, failed, slow| Impact { due, failed, slow };
    assert_eq!(impact(100, 5, 3).since(impact(60, 5, 1)), impact(40, 0, 2));
    assert_eq!(impact(10, 1, 0).since(impact(60, 5, 1)), impact(10, 1, 0));
}

proptest! {
    #[test]
    fn a_score_is_between_0_and_100_and_the_sum_of_its_parts(
        due in 0_u64..10_000, failed in 0_u64..20_000, slow in 0_u64..20_000,
        hints in proptest::collection::vec(0.0_f64..0.5, 0..5), units in 0_usize..8, right_one: bool, ends in 0_usize..4,
    ) {
        let ended = match ends {
            0 => repaired(),
            1 => life(&[(9, Event::GiveUp)]),
            2 => life(&[(31, Event::TimeUp)]),
            _ => life(&[(3, Event::Abort)]),
        };
        let mut happened: Vec<Happened> = hints.into_iter().map(hint).collect();
        happened.extend((0..units).map(|number| unit(&format!("unit-{number}"))));
        if right_one {
            happened.push(diagnosed(right()));
        }
        let score = of(&ended, happened, Impact { due, failed, slow });
        prop_assert!((0.0..=100.0).contains(&score.total));
        let sum: f64 = score.parts.iter().map(|part| part.points).sum();
        prop_assert!((sum.max(0.0) - score.total).abs() < 0.06, "{sum} {:?}", score);
        if score.verdict == Verdict::Pass {
            prop_assert!(ends == 0 && right_one);
        }
    }

    #[test]
    fn more_harm_and_more_hints_never_earn_more(failed in 0_u64..1000, cost in 0.0_f64..0.9) {
        let of = |failed, cost| {
            let impact = Impact { due: 1000, failed, slow: 0 };
            let happened = vec![diagnosed(right()), hint(cost)];
            super::tests::of(&repaired(), happened, impact).total
        };
        prop_assert!(of(failed, cost) <= of(failed / 2, cost) + 1e-9);
        prop_assert!(of(failed, cost) <= of(failed, cost / 2.0) + 1e-9);
    }
}
