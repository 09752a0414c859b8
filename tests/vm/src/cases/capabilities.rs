//! What the kernel says that it can do, and that it does it.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use observastack_loader::{
    ArmError, FaultKind, Rule,
    abi::{
        jitter,
        packet::{DIRECTION_IN, DIRECTION_OUT},
        syscall_error::SyscallErrorRule,
    },
    capability::{Answer, needs, probe},
};

use super::Case;
use crate::{
    rules::{Plan, errno},
    scene::{Scene, figure},
};

pub(super) const CASES: &[Case] = &[
    ("are_what_this_kernel_is_known_for", expected),
    ("of_every_fault_are_there", faults_have_what_they_need),
    ("every_program_is_taken_and_attached", programs_load),
    (
        "that_are_missing_are_named_when_a_fault_is_refused",
        refused,
    ),
];

/// A kernel that can do less than expected fails, and one that can do more as well.
fn expected(scene: &mut Scene) -> Result<()> {
    let probed = probe(&scene.lab.cgroup_root);
    let expected = scene.lab.kernel.capabilities();
    let mut surprises = Vec::new();
    for capability in &probed {
        let answer = expected
            .iter()
            .find(|(name, _)| *name == capability.name)
            .map(|(_, answer)| *answer);
        if answer != Some(capability.answer) {
            surprises.push(format!(
                "{} is {:?}, expected {answer:?} ({})",
                capability.name, capability.answer, capability.reason
            ));
        }
        ensure!(
            !capability.reason.is_empty(),
            "{} has no reason",
            capability.name
        );
    }
    ensure!(surprises.is_empty(), "{}", surprises.join("; "));
    for (name, _) in expected {
        ensure!(
            probed.iter().any(|capability| capability.name == name),
            "{name} was not probed"
        );
    }
    Ok(())
}

/// What a fault says that it needs must be there, where the kernel is known for it.
fn faults_have_what_they_need(scene: &mut Scene) -> Result<()> {
    let probed = probe(&scene.lab.cgroup_root);
    let kernel = scene.lab.kernel;
    for kind in FaultKind::ALL.into_iter().filter(|kind| kernel.can(*kind)) {
        for need in needs(kind) {
            ensure!(
                probed
                    .iter()
                    .any(|capability| capability.name == need && capability.answer == Answer::Yes),
                "{} needs {need}: {probed:?}",
                kind.name()
            );
        }
    }
    Ok(())
}

/// A rule of every fault that attaches all of its programs.
fn rules() -> Vec<Rule> {
    let both = Plan::of(0.0, 1).direction(DIRECTION_IN | DIRECTION_OUT);
    let calls = SyscallErrorRule {
        calls: 0xffff,
        ..SyscallErrorRule::default()
    };
    vec![
        both.loss(),
        both.mtu(1400),
        both.latency(Duration::from_millis(1), Duration::ZERO, jitter::UNIFORM),
        both.bandwidth(1_000_000_000),
        both.outward().window(0),
        both.error(errno::ECONNREFUSED),
        both.bind_error(errno::EACCES),
        both.syscall(errno::EACCES, calls),
        both.signal(u32::MAX, 0),
    ]
}

/// Attached by the first rule of a fault, and detached when the last one has gone.
fn programs_load(scene: &mut Scene) -> Result<()> {
    /// The kernel gives up at a million; a program that comes near may be refused by the next kernel.
    const MOST: u32 = 300_000;
    scene.loader.verify_all();
    for (program, instructions) in scene.loader.verified_instructions() {
        figure(&format!("{program}: {instructions} instructions verified"));
        ensure!(
            instructions <= MOST,
            "{program} takes {instructions} instructions to verify, of {MOST}"
        );
    }
    for rule in rules() {
        let kind = rule.kind();
        if !scene.lab.kernel.takes_programs_of(kind) {
            continue;
        }
        let refusal = scene.loader.refusal(kind);
        ensure!(
            refusal.is_none(),
            "the kernel refuses {}: {refusal:?}",
            kind.name()
        );
        ensure!(scene.loader.detach_idle().is_empty(), "something was idle");
        let armed = scene.arm("attached.service", rule)?;
        ensure!(scene.loader.detach_idle().is_empty(), "a rule is idle");
        scene.disarm(armed)?;
        let mut detached = scene.loader.detach_idle();
        let mut programs: Vec<_> = kind.programs().iter().map(|program| program.name).collect();
        detached.sort_unstable();
        programs.sort_unstable();
        ensure!(
            detached == programs,
            "{}: only {detached:?} had been attached",
            kind.name()
        );
    }
    Ok(())
}

/// What this kernel is known to refuse is refused in words that say so, and nothing is left of it.
fn refused(scene: &mut Scene) -> Result<()> {
    for rule in rules() {
        let kind = rule.kind();
        if scene.lab.kernel.takes_programs_of(kind) {
            continue;
        }
        match scene.loader.arm("refused.service", &rule) {
            Err(ArmError::Unsupported { fault, reason }) => ensure!(
                fault == kind && !reason.is_empty(),
                "{fault:?} instead of {kind:?}, or no reason"
            ),
            other => bail!("{}: {other:?}", kind.name()),
        }
        ensure!(
            scene.loader.detach_idle().is_empty(),
            "something was attached"
        );
    }
    Ok(())
}
