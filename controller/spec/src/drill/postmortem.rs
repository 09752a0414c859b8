//! What is told after a run: a debrief, and a postmortem that is begun.

use super::{
    document::Block,
    life::{Life, Outcome},
    log::{Entry, Happened},
    score::{Mode, Score, Verdict},
};
use crate::scenario::{Scenario, answer::Diagnosis};

/// Everything that a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The drill.
    pub scenario: &'a Scenario,
    /// The seed that the run had.
    pub seed: u64,
    /// The run.
    pub life: &'a Life,
    /// What happened in it.
    pub entries: &'a [Entry],
    /// What it is worth.
    pub score: &'a Score,
}

/// The debrief: what was wrong, what the learner did, what it is worth, and how to do better.
#[must_use]
pub fn debrief(told: Told<'_>) -> Vec<Block> {
    let sealed = &told.scenario.sealed;
    let mut blocks = vec![
        Block::Heading(1, format!("Debrief: {}", *told.scenario.brief.title)),
        Block::Paragraph(verdict(told)),
    ];
    if told.score.mode == Mode::Open {
        blocks.push(Block::Paragraph(
            "This lab was the learner's own: the score is advice, not a proof.".to_owned(),
        ));
    }
    let part = |name: &str, points: f64, of: f64, why: &str| {
        let of = if of > 0.0 {
            format!("{points:.1} of {of:.0}")
        } else {
            format!("{points:.1}")
        };
        vec![name.to_owned(), of, why.to_owned()]
    };
    let mut rows: Vec<Vec<String>> = told
        .score
        .parts
        .iter()
        .map(|one| part(&one.name, one.points, one.of, &one.why))
        .collect();
    rows.push(part("all", told.score.total, 100.0, ""));
    blocks.extend([
        Block::Heading(2, "What it is worth".to_owned()),
        table(&["part", "points", "why"], rows),
        Block::Heading(2, "What was wrong".to_owned()),
        Block::Paragraph(format!(
            "{}: {}, by {}.",
            sealed.answer.component.meaning(),
            sealed.answer.mechanism.meaning(),
            sealed.answer.cause.meaning()
        )),
        Block::Paragraph(sealed.debrief.explanation.value.clone()),
    ]);
    if let Some(said) = last_diagnosis(told.entries) {
        blocks.push(table(
            &["", "you said", "it was"],
            compared(told.scenario, said),
        ));
    }
    blocks.extend([
        Block::Heading(2, "From the symptom to the cause".to_owned()),
        Block::Steps(sealed.debrief.path.value.clone()),
        Block::Heading(2, "What you did".to_owned()),
    ]);
    let done: Vec<Vec<String>> = told
        .entries
        .iter()
        .filter(|entry| entry.what.is_learners())
        .filter_map(|entry| Some(vec![clock(told.life, entry.at_ms), line(&entry.what)?]))
        .collect();
    blocks.push(if done.is_empty() {
        Block::Paragraph("Nothing that the lab has seen.".to_owned())
    } else {
        table(&["when", "what"], done)
    });
    blocks.extend([
        Block::Heading(2, "What the kernel saw".to_owned()),
        Block::Paragraph(sealed.debrief.kernel.value.clone()),
        Block::Heading(2, "Repairs that look right and are not".to_owned()),
        Block::List(
            sealed
                .bad_fixes
                .iter()
                .map(|(name, fix)| format!("{name}: {}", *fix.why))
                .collect(),
        ),
        Block::Heading(2, "How to prevent it".to_owned()),
        Block::Paragraph(sealed.debrief.prevention.value.clone()),
        Block::Heading(2, "How to notice it sooner".to_owned()),
        Block::Paragraph(sealed.debrief.monitoring.value.clone()),
    ]);
    blocks
}

/// A postmortem, with what the lab knows filled in and what only people know left open.
#[must_use]
pub fn postmortem(told: Told<'_>) -> Vec<Block> {
    let brief = &told.scenario.brief;
    let impact = told.score.impact;
    let blank = |text: &str| Block::Blank(text.to_owned());
    let minutes = |ms: Option<u64>| {
        ms.map_or_else(
            || "not".to_owned(),
            |ms| format!("{:.1} min", ms as f64 / 60_000.0),
        )
    };
    let timeline = told
        .entries
        .iter()
        .filter(|entry| entry.what.is_public())
        .filter_map(|entry| Some(vec![clock(told.life, entry.at_ms), line(&entry.what)?]))
        .collect();
    vec![
        Block::Heading(1, format!("Postmortem: {}", *brief.title)),
        table(
            &["", ""],
            vec![
                vec![
                    "drill".to_owned(),
                    format!(
                        "{}, version {}, seed {}",
                        *brief.id, *brief.version, told.seed
                    ),
                ],
                vec!["severity".to_owned(), format!("{:?}", brief.severity)],
                vec!["detected after".to_owned(), minutes(told.score.detect_ms)],
                vec![
                    "diagnosed after".to_owned(),
                    minutes(told.score.diagnose_ms),
                ],
                vec!["repaired after".to_owned(), minutes(told.score.repair_ms)],
            ],
        ),
        Block::Heading(2, "Summary".to_owned()),
        blank("What happened, in two sentences, for somebody who was not there."),
        Block::Heading(2, "Impact".to_owned()),
        Block::Paragraph(impact.map_or_else(
            || "What users went through is not known.".to_owned(),
            |impact| {
                format!(
                    "{} requests were due: {} failed, {} were too slow for their users ({:.1} % together).",
                    impact.due,
                    impact.failed,
                    impact.slow,
                    impact.bad() * 100.0
                )
            },
        )),
        blank("What did users see? What did it cost them?"),
        Block::Heading(2, "Timeline".to_owned()),
        table(&["when", "what"], timeline),
        Block::Heading(2, "Root cause".to_owned()),
        match last_diagnosis(told.entries) {
            Some(said) => Block::Paragraph(format!(
                "As it was diagnosed: {}, {}, by {}.",
                said.component.meaning(),
                said.mechanism.meaning(),
                said.cause.meaning()
            )),
            None => blank("Nobody has said it yet."),
        },
        blank(
            "Why was that possible? Ask until the answer is a change to the system and not to a person.",
        ),
        Block::Heading(2, "What went well, and what did not".to_owned()),
        blank("What helped to find it? What was looked at in vain?"),
        Block::Heading(2, "Action items".to_owned()),
        table(
            &["what", "prevents, detects or mitigates", "who", "until"],
            vec![vec![String::new(); 4]; 3],
        ),
    ]
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> Block {
    Block::Table(head.iter().map(|&cell| cell.to_owned()).collect(), rows)
}

fn verdict(told: Told<'_>) -> String {
    let how = match &told.life.outcome {
        Some(Outcome::Repaired) => "The repair held.".to_owned(),
        Some(Outcome::GaveUp) => "The learner did not want to go on.".to_owned(),
        Some(Outcome::TimeUp) => "The time was up.".to_owned(),
        Some(Outcome::Aborted) => "The run was aborted.".to_owned(),
        Some(Outcome::LabError { reason }) => format!("The lab could not do its part: {reason}."),
        None => "The run goes on.".to_owned(),
    };
    let word = match told.score.verdict {
        Verdict::Pass => "Passed",
        Verdict::Fail => "Not passed",
        Verdict::Timeout => "Not passed in time",
        Verdict::LabError => "Not judged",
    };
    format!("{word}, {:.1} of 100 points. {how}", told.score.total)
}

fn last_diagnosis(entries: &[Entry]) -> Option<&Diagnosis> {
    entries.iter().rev().find_map(|entry| match &entry.what {
        Happened::Diagnosed { diagnosis } => Some(diagnosis),
        _ => None,
    })
}

fn compared(scenario: &Scenario, said: &Diagnosis) -> Vec<Vec<String>> {
    let answer = &scenario.sealed.answer;
    let row = |what: &str, said: String, was: String| vec![what.to_owned(), said, was];
    let signals = |evidence: &[crate::scenario::answer::Evidence]| {
        let signals: Vec<String> = evidence
            .iter()
            .map(|one| format!("{} of {}", one.signal, one.of))
            .collect();
        signals.join(", ")
    };
    vec![
        row(
            "component",
            said.component.to_string(),
            answer.component.to_string(),
        ),
        row(
            "mechanism",
            said.mechanism.to_string(),
            answer.mechanism.to_string(),
        ),
        row("cause", said.cause.to_string(), answer.cause.to_string()),
        row(
            "evidence",
            signals(&said.evidence),
            signals(&answer.evidence),
        ),
    ]
}

/// Minutes and seconds from the break, negative before it.
fn clock(life: &Life, at_ms: u64) -> String {
    let from = life.moments.broken.unwrap_or(life.moments.began);
    let sign = if at_ms < from { "-" } else { "+" };
    let seconds = at_ms.abs_diff(from) / 1000;
    format!("{sign}{:02}:{:02}", seconds / 60, seconds % 60)
}

/// What happened, for people; nothing where it is of no use to them.
fn line(what: &Happened) -> Option<String> {
    Some(match what {
        Happened::Phase { phase } => format!("{phase:?}").to_lowercase(),
        Happened::Told { from, text, .. } => format!("{from:?}: {text}"),
        Happened::Checked {
            check,
            holds,
            found,
        } => {
            let holds = if *holds { "holds" } else { "does not hold" };
            format!("{check} {holds}: {found}")
        }
        Happened::Command { line, code } => match code {
            None | Some(0) => format!("`{line}`"),
            Some(code) => format!("`{line}` (exit code {code})"),
        },
        Happened::Configured { service, fields } => {
            format!("changed {} of {service}", fields.join(", "))
        }
        Happened::Unit { unit, verb } => format!("{verb} {unit}"),
        Happened::Observed { signal, unit } => format!("looked at {signal} of {unit}"),
        Happened::Hint { number, text, .. } => format!("took hint {number}: {text}"),
        Happened::Diagnosed { diagnosis } => format!(
            "said: {}, {}, {}",
            diagnosis.component, diagnosis.mechanism, diagnosis.cause
        ),
        Happened::Submitted => "said that it is repaired".to_owned(),
        Happened::NotRepaired { check } => format!("it was not: {check}"),
        Happened::Ended { outcome } => match outcome {
            Outcome::LabError { reason } => format!("the lab gave up: {reason}"),
            Outcome::Repaired => "repaired".to_owned(),
            Outcome::GaveUp => "gave up".to_owned(),
            Outcome::TimeUp => "time up".to_owned(),
            Outcome::Aborted => "aborted".to_owned(),
        },
        Happened::Did { .. } | Happened::Shortcut { .. } | Happened::Graded { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        drill::{
            document::{html, markdown},
            life::Event,
            score::{Impact, score},
        },
        scenario::{
            answer::{Cause, Component, Mechanism},
            template,
        },
    };

    fn told(check: impl FnOnce(Told<'_>)) {
        let files = template::named("my-drill").unwrap();
        let scenario = Scenario::read(&files.brief, &files.sealed).unwrap();
        let (mut life, _) = Life::begin(0);
        for (at_ms, event) in [
            (1_000, Event::BaselineHolds),
            (61_000, Event::Broken),
            (200_000, Event::Holds),
            (210_000, Event::Submit),
            (240_000, Event::HeldToTheEnd),
        ] {
            life.take(at_ms, event).unwrap();
        }
        let did = |number, at_ms, what| Entry {
            number,
            at_ms,
            what,
        };
        let diagnosis = Diagnosis {
            component: Component::Api1,
            mechanism: Mechanism::NetworkLatency,
            cause: Cause::Network,
            evidence: vec![],
        };
        let entries = [
            did(
                1,
                30_000,
                Happened::Did {
                    action: "fault bursts".to_owned(),
                    is_noise: false,
                },
            ),
            did(
                2,
                121_000,
                Happened::Command {
                    line: "ss -ti".to_owned(),
                    code: Some(0),
                },
            ),
            did(3, 180_000, Happened::Diagnosed { diagnosis }),
            did(4, 210_000, Happened::Submitted),
        ];
        let impact = Impact {
            due: 1000,
            failed: 10,
            slow: 40,
        };
        let score = score(&scenario, &life, &entries, Some(impact), Mode::Open);
        check(Told {
            scenario: &scenario,
            seed: 7,
            life: &life,
            entries: &entries,
            score: &score,
        });
    }

    #[test]
    fn a_debrief_tells_the_answer_beside_what_was_said_and_done() {
        told(|told| {
            let text = markdown(&debrief(told));
            for part in [
                "# Debrief: Orders are slow since this morning",
                "The repair held.",
                "the score is advice",
                "| mechanism | network-latency | packet-loss |",
                "| +01:00 | `ss -ti` |",
                "1. latency by instance",
                "- restart: A fault of the network stays",
                "throws away by reason",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
            // The lab's own steps are in the answer, not in the learner's list.
            assert!(!text.contains("fault bursts"), "{text}");
            assert!(html("Debrief", &debrief(told)).contains("<code>ss -ti</code>"));
        });
    }

    #[test]
    fn a_postmortem_has_the_facts_and_leaves_the_rest_to_people() {
        told(|told| {
            let text = markdown(&postmortem(told));
            for part in [
                "| drill | my-drill, version 1, seed 7 |",
                "| detected after | 2.0 min |",
                "1000 requests were due: 10 failed, 40 were too slow for their users (5.0 % together).",
                "As it was diagnosed: the first API server, packets take long",
                "_Why was that possible?",
                "| +02:29 | said that it is repaired |",
            ] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(!text.contains("fault bursts"), "{text}");
        });
    }
}
