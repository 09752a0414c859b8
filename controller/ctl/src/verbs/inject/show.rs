//! Faults in words.

use std::{process::ExitCode, time::Duration};

use observastack_spec::{
    api::{Answer, DryRun, FaultStatus},
    duration,
    fault::FaultSpec,
    probability,
};

/// A fault that has begun.
pub(super) fn injected(status: &FaultStatus) -> String {
    format!(
        "fault {id}: {}\nend it sooner with: observastack-ctl clear {id}",
        sentence(&status.spec),
        id = status.id,
    )
}

/// What a fault would do.
pub(super) fn dry_run(run: &DryRun) -> String {
    let answer = match run.supported {
        Answer::Yes => "this machine can do it".to_owned(),
        Answer::No => format!("this machine cannot do it: {}", run.reason),
        Answer::Unknown => format!("whether this machine can do it is unknown: {}", run.reason),
    };
    let mut lines = vec![format!("would inject {}", sentence(&run.spec)), answer];
    let steps = run.steps.iter().enumerate();
    lines.extend(steps.map(|(at, step)| format!("  {}. {step}", at + 1)));
    lines.join("\n")
}

/// 1 where something cannot be done here.
pub(super) fn exit_code(runs: &[DryRun]) -> ExitCode {
    if runs.iter().any(|run| run.supported == Answer::No) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The fault, its unit, its time, and which events where it picks any.
fn sentence(spec: &FaultSpec) -> String {
    let parameters = spec.fault.parameters();
    let parameters = if parameters.is_empty() {
        parameters
    } else {
        format!(" ({parameters})")
    };
    let mut parts = vec![format!(
        "{}{parameters} on {}",
        spec.fault.kind(),
        spec.unit
    )];
    let uses = spec.fault.uses();
    if uses.probability {
        let share = probability::display(spec.probability);
        parts.push(format!(
            "{share} of {}",
            if uses.every { "events" } else { "connections" }
        ));
    }
    if spec.every > 1 {
        parts.push(format!("one in {}", spec.every));
    }
    if spec.after > 0 {
        parts.push(format!("not the first {}", spec.after));
    }
    if let Some(max) = spec.max {
        parts.push(format!("at most {max}"));
    }
    if uses.seed {
        parts.push(format!("seed {}", spec.seed));
    }
    let held = duration::display(Duration::from_millis(spec.for_ms));
    parts.push(format!("for {held}"));
    parts.join(", ")
}
