use proptest::prelude::*;

use super::{
    Scenario,
    answer::{Cause, Component, Diagnosis, Evidence, Mechanism, POINTS, Signal, grade},
    brief_schema,
    plan::{Moment, plan},
    read_brief, sealed_schema,
};
use crate::{Fault, HumanDuration};

const BRIEF: &str = include_str!("template/scenario.yaml");
const SEALED: &str = include_str!("template/sealed.yaml");

fn template() -> Scenario {
    Scenario::read(BRIEF, SEALED).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// What is said when one thing of the template is another.
fn said(part: &str, from: &str, to: &str) -> Vec<String> {
    assert!(part.contains(from), "the template has no `{from}`");
    let (brief, sealed) = if part == BRIEF {
        (BRIEF.replacen(from, to, 1), SEALED.to_owned())
    } else {
        (BRIEF.to_owned(), SEALED.replacen(from, to, 1))
    };
    match Scenario::read(&brief, &sealed) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The line that the template has it in.
fn line(part: &str, text: &str) -> usize {
    1 + part
        .lines()
        .position(|line| line.contains(text))
        .unwrap_or_else(|| panic!("the template has no `{text}`"))
}

#[test]
fn the_template_is_a_scenario() {
    let scenario = template();
    assert_eq!(scenario.brief.id.value, "my-drill");
    assert_eq!(scenario.sealed.hints.len(), 3);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_would_be_right() {
    for (part, from, to, reason) in [
        (
            BRIEF,
            "id: my-drill",
            "id: My_Drill",
            "id: `My_Drill` is not allowed; use small letters",
        ),
        (
            BRIEF,
            "minutes: 30",
            "minutes: 3",
            "minutes: 3 is not allowed; use 5 to 240",
        ),
        (BRIEF, "minutes: 30", "minutes: soon", "not a whole number"),
        (BRIEF, "severity: sev2", "severity: bad", "unknown variant"),
        (BRIEF, "kernel: true", "colour: red", "unknown field"),
        (
            BRIEF,
            "version: 1",
            "version: 0",
            "version: 0 is not allowed",
        ),
        (
            BRIEF,
            "kernel: true",
            "kernel: perhaps",
            "neither true nor false",
        ),
        (
            SEALED,
            "scenario: my-drill",
            "scenario: other",
            "`other` is another one than `my-drill`",
        ),
        (
            SEALED,
            "rate: 40",
            "rate: -1",
            "rate: -1 a second is not allowed",
        ),
        (
            SEALED,
            "at-least: 99%",
            "at-least: 990%",
            "`990%` is not allowed",
        ),
        (
            SEALED,
            "  - active: api@2",
            "  - active: sshd",
            "active: there is no `sshd`; use one of gateway",
        ),
        (
            SEALED,
            "  - at: 20s",
            "  - at: 40m",
            "at: the drill takes 30 minutes",
        ),
        (
            SEALED,
            "  - at: 20s",
            "  - when: {acted: bursts}",
            "jitter: only a step with `at`",
        ),
        (
            SEALED,
            "    - acted: bursts",
            "    - acted: other",
            "no fault is called `other`; there are bursts",
        ),
        (
            SEALED,
            "fault: packet-loss",
            "fault: packet-lost",
            "fault: there is no `packet-lost`",
        ),
        (
            SEALED,
            "burst: \"2%,25%\"",
            "burst: \"2\"",
            "burst: `2` is not allowed",
        ),
        (
            SEALED,
            "burst: \"2%,25%\"",
            "delay: 3s",
            "delay: there is no such field",
        ),
        (
            SEALED,
            "unit: observastack-api@1",
            "unit: sshd",
            "unit: `sshd` is not allowed",
        ),
        (
            SEALED,
            "hold: 30s",
            "hold: 1s",
            "hold: `1s` is not allowed; use 5s to 10m",
        ),
        (
            SEALED,
            "cost: 5%",
            "cost: 80%",
            "hints: they cost 105 % together",
        ),
        (
            SEALED,
            "credit: 50%",
            "credit: 100%",
            "credit: 100% would be right, not near",
        ),
        (
            SEALED,
            "every: 2m",
            "every: 1s",
            "every: `1s` is not allowed",
        ),
        (
            SEALED,
            "mechanism: packet-loss",
            "mechanism: slow-query",
            "the reference solution earns 70 of 100",
        ),
        (
            SEALED,
            "cause: network",
            "cause: nothing",
            "`nothing` is said of a part of it only",
        ),
        (
            SEALED,
            "set: {upstreams: [{address: \"127.0.0.1:8102\"}]}",
            "set: {upstreams.0.weight: 1}",
            "a list is set as a whole",
        ),
        (
            BRIEF,
            "minutes: 30",
            "minutes: 60",
            "a fault holds for an hour at most",
        ),
        (
            SEALED,
            "service: gateway",
            "service: nginx",
            "service: there is no `nginx`",
        ),
    ] {
        let told = said(part, from, to);
        assert!(
            told.iter().any(|told| told.contains(reason)),
            "{to}: {told:#?}"
        );
    }
}

#[test]
fn a_place_is_the_values_own() {
    let told = said(SEALED, "hold: 30s", "hold: 1s");
    let expected = format!(
        "sealed.yaml: line {}, column 9: hold",
        line(SEALED, "hold: 30s")
    );
    assert!(told[0].starts_with(&expected), "{told:?}");
    let told = said(SEALED, "burst: \"2%,25%\"", "burst: \"2\"");
    let expected = format!("sealed.yaml: line {}, ", line(SEALED, "burst: "));
    assert!(told[0].starts_with(&expected), "{told:?}");
    let told = said(BRIEF, "kernel: true", "colour: red");
    let expected = format!(
        "scenario.yaml: line {}, column 1: ",
        line(BRIEF, "kernel: true")
    );
    assert!(told[0].starts_with(&expected), "{told:?}");
}

#[test]
fn both_files_tell_what_is_wrong_at_once() {
    let brief = BRIEF.replacen("minutes: 30", "minutes: 3", 1);
    let sealed = SEALED.replacen("hold: 30s", "hold: 1s", 1);
    let errors = Scenario::read(&brief, &sealed).unwrap_err();
    assert!(errors.len() >= 2, "{errors:?}");
    assert!(read_brief(&brief).is_err() && read_brief(BRIEF).is_ok());
    assert!(Scenario::read("", "").is_err());
    assert!(read_brief(&" ".repeat(300 * 1024)).is_err());
}

#[test]
fn a_drill_in_which_nothing_is_wrong_has_nothing_that_shows_it() {
    let quiet = |text: &str| {
        text.replace("component: api@1", "component: nothing")
            .replace("mechanism: packet-loss", "mechanism: nothing")
            .replace("cause: network", "cause: nothing")
    };
    let told = Scenario::read(BRIEF, &quiet(SEALED)).unwrap_err();
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|told| told.contains("nothing may have to show it")),
        "{told:?}"
    );
}

#[test]
fn a_plan_is_in_order_and_late_by_no_more_than_was_said() {
    let scenario = template();
    let made = plan(&scenario, 7);
    let times: Vec<u64> = made
        .entries
        .iter()
        .filter_map(|entry| match &entry.moment {
            Moment::At(at) => u64::try_from(at.get().as_millis()).ok(),
            _ => None,
        })
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(times[0], 0);
    assert!((20_000..=30_000).contains(&times[1]), "{times:?}");
    // Every two to four minutes of thirty.
    let noise = made.entries.iter().filter(|entry| entry.is_noise).count();
    assert!((7..=14).contains(&noise), "{noise}");
    let fault = made.entries[0].fault.as_ref().unwrap();
    assert!(matches!(fault.fault, Fault::PacketLoss(_)));
    assert_eq!(fault.for_ms, 35 * 60 * 1000);
    assert!(fault.seed.is_some());
    let text = made.to_string();
    assert!(text.starts_with("00:00.000  fault bursts: "), "{text}");
    assert!(
        text.contains("on the learner's Hint  Stakeholder says: Any news?"),
        "{text}"
    );
    assert!(text.contains("(noise)"), "{text}");
}

#[test]
fn a_plan_says_how_long_a_rate_takes_to_get_there() {
    let with = |rate: &str| {
        let step = format!("steps:\n  - at: 5s\n    do: {{rate: {rate}}}\n");
        Scenario::read(BRIEF, &SEALED.replace("steps:\n", &step))
    };
    let text = |rate| plan(&with(rate).unwrap(), 7).to_string();
    let told = text("{per-second: 200, over: 30s}");
    assert!(
        told.contains("00:05.000  load at 200/s, evenly over 30s\n"),
        "{told}"
    );
    let told = text("{per-second: 200}");
    assert!(told.contains("00:05.000  load at 200/s\n"), "{told}");
    for over in ["999ms", "61m", "0s"] {
        let errors = with(&format!("{{per-second: 200, over: {over}}}")).unwrap_err();
        let told = errors[0].to_string();
        assert!(
            told.contains("over: `") && told.contains("use 1s to 1h"),
            "{told}"
        );
    }
}

#[test]
fn a_plan_has_a_bound() {
    let with = |more: &str| {
        let text = SEALED.replace("noise:\n", &format!("noise:\n{more}"));
        Scenario::read(BRIEF, &text)
    };
    let one = "  - {every: 5s, do: {notify: {from: user, text: x}}}\n";
    assert!(with(&one.repeat(19)).is_ok());
    let told = with(&one.repeat(4_000)).unwrap_err()[0].to_string();
    assert!(
        told.contains("noise: there are 4001 kinds; use 20 at most"),
        "{told}"
    );
    let step = "  - {at: 0s, do: {notify: {from: user, text: x}}}\n";
    let text = SEALED.replace("steps:\n", &format!("steps:\n{}", step.repeat(200)));
    let told = Scenario::read(BRIEF, &text).unwrap_err()[0].to_string();
    assert!(told.contains("use 200 at most"), "{told}");
    let late = SEALED.replace("jitter: 10s", "jitter: 30m");
    let told = Scenario::read(BRIEF, &late).unwrap_err()[0].to_string();
    assert!(
        told.contains("this may come, with its jitter, after it"),
        "{told}"
    );
}

#[test]
fn a_diagnosis_is_graded_by_its_parts() {
    let scenario = template();
    let answer = &scenario.sealed.answer;
    let evidence = |signal, of| Evidence { signal, of };
    let right = Diagnosis {
        component: Component::Api1,
        mechanism: Mechanism::PacketLoss,
        cause: Cause::Network,
        evidence: vec![evidence(Signal::Drops, Component::Api1)],
    };
    let total = |diagnosis: &Diagnosis| grade(answer, diagnosis, true).total();
    assert_eq!(total(&right), 100);
    let near = Diagnosis {
        component: Component::Api,
        ..right.clone()
    };
    assert_eq!(grade(answer, &near, true).component, POINTS.component / 2);
    let wrong = Diagnosis {
        mechanism: Mechanism::SlowQuery,
        ..right.clone()
    };
    assert_eq!(total(&wrong), 70);
    // The application's figures are no evidence in a kernel drill, another unit's none at all, and everything at once is a guess.
    for evidence in [
        vec![],
        vec![evidence(Signal::Latency, Component::Api1)],
        vec![evidence(Signal::Drops, Component::Inventory)],
        Signal::ALL
            .iter()
            .map(|signal| evidence(*signal, Component::Api1))
            .collect(),
    ] {
        let unproven = Diagnosis {
            evidence,
            ..right.clone()
        };
        assert_eq!(total(&unproven), 80);
    }
}

/// `observastack-ctl drill schema scenario > docs/scenario.schema.json` brings it up to date, and `sealed` the other one.
#[test]
fn the_published_schemas_are_the_codes() {
    for (schema, file) in [
        (brief_schema(), "scenario.schema.json"),
        (sealed_schema(), "sealed.schema.json"),
    ] {
        let path = format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"));
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        let published: serde_json::Value = serde_json::from_str(&published).unwrap_or_default();
        assert!(published == schema.to_value(), "{file} is not up to date");
    }
}

#[test]
fn the_schemas_know_every_field_and_refuse_others() {
    for (schema, field) in [(brief_schema(), "briefing"), (sealed_schema(), "bad-fixes")] {
        let schema = schema.to_value();
        assert!(schema["properties"][field].is_object(), "{schema:#}");
        assert_eq!(schema["additionalProperties"], false);
    }
    let text = sealed_schema().to_value().to_string();
    for word in ["packet-loss", "kernel.packet-drops", "jitter", "stop-load"] {
        assert!(text.contains(word), "{word}");
    }
}

proptest! {
    #[test]
    fn the_same_seed_makes_the_same_plan_and_every_seed_a_possible_one(seed: u64) {
        let scenario = template();
        let made = plan(&scenario, seed);
        prop_assert_eq!(&made, &plan(&scenario, seed));
        let latest = HumanDuration::from_millis(30_000);
        let step = made.entries.iter().find(|entry| !entry.is_noise && entry.moment != Moment::At(HumanDuration::from_millis(0)));
        prop_assert!(matches!(&step.unwrap().moment, Moment::At(at) if *at <= latest));
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place(text in "\\PC{0,300}") {
        if let Err(errors) = Scenario::read(&text, &text) {
            prop_assert!(errors.iter().all(|one| one.error.line >= 1 && one.error.column >= 1));
        }
    }

    #[test]
    fn a_template_with_a_hole_is_read_or_refused(from in 0_usize..3000, length in 0_usize..40, other in "[a-z0-9:{}\\[\\]% \n-]{0,12}") {
        let mut text: Vec<char> = SEALED.chars().collect();
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, other.chars());
        let text: String = text.into_iter().collect();
        if let Err(errors) = Scenario::read(BRIEF, &text) {
            prop_assert!(errors.iter().all(|one| one.error.line >= 1 && one.error.column >= 1));
        }
    }

    #[test]
    fn more_right_parts_never_earn_less(component in 0..Component::ALL.len(), mechanism in 0..Mechanism::ALL.len(), cause in 0..Cause::ALL.len(), kernel: bool) {
        let scenario = template();
        let answer = &scenario.sealed.answer;
        let guess = Diagnosis {
            component: Component::ALL[component],
            mechanism: Mechanism::ALL[mechanism],
            cause: Cause::ALL[cause],
            evidence: vec![],
        };
        let before = grade(answer, &guess, kernel).total();
        for better in [
            Diagnosis { component: answer.component, ..guess.clone() },
            Diagnosis { mechanism: answer.mechanism, ..guess.clone() },
            Diagnosis { cause: answer.cause, ..guess.clone() },
            Diagnosis { evidence: answer.evidence.value[..1].to_vec(), ..guess.clone() },
        ] {
            prop_assert!(grade(answer, &better, kernel).total() >= before);
        }
        prop_assert!(before <= POINTS.total());
    }
}
