//! What the kernel says that it can do, and that it does it.

use anyhow::{Result, ensure};
use observastack_loader::{
    FaultKind,
    capability::{Answer, needs, probe},
};

use super::Case;
use crate::{
    rules::{Plan, errno},
    scene::Scene,
};

pub(super) const CASES: &[Case] = &[
    ("are_what_this_kernel_is_known_for", expected),
    ("of_every_fault_are_there", faults_have_what_they_need),
    ("every_program_is_taken_and_attached", programs_load),
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

/// Both faults work on every supported kernel, so everything that they say they need must be there.
fn faults_have_what_they_need(scene: &mut Scene) -> Result<()> {
    let probed = probe(&scene.lab.cgroup_root);
    for kind in FaultKind::ALL {
        for need in needs(kind) {
            ensure!(
                probed
                    .iter()
                    .any(|capability| capability.name == *need && capability.answer == Answer::Yes),
                "{} needs {need}: {probed:?}",
                kind.name()
            );
        }
    }
    Ok(())
}

fn programs_load(scene: &mut Scene) -> Result<()> {
    for kind in FaultKind::ALL {
        let refusal = scene.loader.refusal(kind);
        ensure!(
            refusal.is_none(),
            "the kernel refuses {}: {refusal:?}",
            kind.name()
        );
    }
    // Attached by the first rule of a kind, and detached when the last one has gone.
    let mut armed = Vec::new();
    for rule in [
        Plan::always().loss(),
        Plan::always().error(errno::ECONNREFUSED),
    ] {
        ensure!(scene.loader.detach_idle().is_empty(), "nothing was idle");
        armed.push(scene.arm("attached.service", rule)?);
    }
    for armed in armed {
        scene.disarm(armed)?;
    }
    let mut detached = scene.loader.detach_idle();
    detached.sort();
    ensure!(
        detached == FaultKind::ALL,
        "only {detached:?} had been attached"
    );
    Ok(())
}
