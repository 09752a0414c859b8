//! The right answer: complete, and found by the drill's own solution.

use super::{super::answer, Sealed, Wrong};
use answer::{Cause, Component, Mechanism};

/// Whether nothing is wrong in this drill.
pub(super) fn check(sealed: &Sealed, kernel: bool, wrong: &mut Wrong) -> bool {
    let right = &sealed.answer;
    let nothing = [
        right.component == Component::Nothing,
        right.mechanism == Mechanism::Nothing,
        right.cause == Cause::Nothing,
    ];
    let is_quiet = nothing.iter().all(|is| *is);
    wrong.unless(
        is_quiet || !nothing.iter().any(|is| *is),
        &right.evidence,
        || "answer: `nothing` is said of a part of it only".to_owned(),
    );
    wrong.unless(
        is_quiet == right.evidence.is_empty(),
        &right.evidence,
        || {
            if is_quiet {
                "evidence: nothing shows that nothing is wrong".to_owned()
            } else {
                "evidence: is needed: which signals show it?".to_owned()
            }
        },
    );
    let has_kernels = right
        .evidence
        .iter()
        .any(|evidence| evidence.signal.is_kernels());
    wrong.unless(!kernel || has_kernels || is_quiet, &right.evidence, || {
        "evidence: scenario.yaml says `kernel: true`, but no signal here is the kernel's".to_owned()
    });
    for miss in &right.also {
        let parts = [
            miss.component.is_some(),
            miss.mechanism.is_some(),
            miss.cause.is_some(),
        ];
        wrong.unless(
            parts.iter().filter(|is| **is).count() == 1,
            &miss.credit,
            || {
                "also: a near miss is another component, mechanism or cause, one of these"
                    .to_owned()
            },
        );
        wrong.unless(miss.credit.get() < 1.0, &miss.credit, || {
            "credit: 100% would be right, not near".to_owned()
        });
    }
    let found = &sealed.reference.diagnosis;
    let points = answer::grade(right, found, kernel).total();
    wrong.unless(points == answer::POINTS.total(), found, || {
        format!(
            "diagnosis: the reference solution earns {points} of {} points with it",
            answer::POINTS.total()
        )
    });
    is_quiet
}
