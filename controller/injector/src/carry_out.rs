//! From a checked request to a fault that holds, and back: everything in between is undone when one step fails.

use std::sync::{Arc, atomic::Ordering};

use observastack_spec::{
    api::{Answer, DryRun, FaultState, FaultStatus, PanicStatus},
    fault::FaultSpec,
};
use tracing::{info, warn};

use crate::{
    api::{Context, Failure, Peer},
    engine::{Begun, EngineError, Held},
    facts::{FactError, Facts},
    host::actors::{ActorCounts, Work},
    lowering::{self, Plan, Term},
    scope::{self, Standing},
};

/// Injects one fault.
pub(crate) async fn inject(
    context: &Context,
    peer: Peer,
    spec: FaultSpec,
) -> Result<FaultStatus, Failure> {
    context.check_support(spec.fault.kind()).await?;
    let begun = begin(context, &spec).await?;
    let plan = plan(context, &begun, &spec).await?;
    let by_hands = apply(context, &begun, &spec, &plan).await?;
    let held = Held {
        begun: begun.clone(),
        spec,
        rule: plan.rule,
        by_hands: by_hands.clone(),
    };
    let status = match context.engine.hold(held).await {
        Ok(status) => status,
        Err(error) => {
            if by_hands.is_some() {
                revert(context, begun.id).await;
            }
            return Err(error.into());
        }
    };
    tell_begin(peer, &status);
    Ok(status)
}

/// The journal's line. What somebody has to find is not told there.
fn tell_begin(peer: Peer, status: &FaultStatus) {
    if status.spec.covert {
        info!(
            audit = "inject",
            uid = peer.uid,
            pid = peer.pid,
            fault = status.id,
            until_unix_ms = status.since_unix_ms + status.spec.for_ms,
            "fault {} injected",
            status.id
        );
        return;
    }
    info!(
        audit = "inject",
        uid = peer.uid,
        pid = peer.pid,
        fault = status.id,
        unit = status.spec.unit,
        kind = status.spec.fault.kind(),
        parameters = status.spec.fault.parameters(),
        probability = status.spec.probability,
        seed = status.spec.seed,
        for_ms = status.spec.for_ms,
        until_unix_ms = status.since_unix_ms + status.spec.for_ms,
        "fault {} injected: {} on {}",
        status.id,
        status.spec.fault.kind(),
        status.spec.unit
    );
}

/// Injects all faults of a set, or none.
pub(crate) async fn inject_set(
    context: &Context,
    peer: Peer,
    specs: Vec<FaultSpec>,
) -> Result<Vec<FaultStatus>, Failure> {
    let mut injected: Vec<FaultStatus> = Vec::new();
    for (at, spec) in specs.into_iter().enumerate() {
        match inject(context, peer, spec).await {
            Ok(status) => injected.push(status),
            Err(mut failure) => {
                for status in injected.iter().rev() {
                    let _ = clear(context, peer, status.id).await;
                }
                failure.body.error = format!(
                    "faults[{at}]: {}; nothing of the set was left in force",
                    failure.body.error
                );
                return Err(failure);
            }
        }
    }
    Ok(injected)
}

/// Says what injecting would do.
pub(crate) async fn dry_run(context: &Context, spec: FaultSpec) -> Result<DryRun, Failure> {
    check_scope(context, &spec).await?;
    let support = context.support(spec.fault.kind()).await?;
    // Nothing holds: neither id nor time are real.
    let begun = Begun { id: 0, end_ns: 0 };
    let steps = match plan(context, &begun, &spec).await {
        Ok(plan) => plan.steps(),
        Err(failure) if support.answer == Answer::Yes => return Err(failure),
        Err(failure) => vec![failure.body.error],
    };
    Ok(DryRun {
        spec,
        supported: support.answer,
        reason: support.reason,
        steps,
    })
}

/// Clears one fault; when this returns, nothing of it is left.
pub(crate) async fn clear(context: &Context, peer: Peer, id: u64) -> Result<FaultStatus, Failure> {
    let status = context.engine.end(id).await?;
    revert(context, id).await;
    if status.spec.covert {
        info!(
            audit = "clear",
            uid = peer.uid,
            pid = peer.pid,
            fault = id,
            "fault {id} cleared"
        );
    } else {
        info!(
            audit = "clear",
            uid = peer.uid,
            pid = peer.pid,
            fault = id,
            matched = status.counts.matched,
            injected = status.counts.injected,
            skipped = status.counts.skipped,
            "fault {id} cleared"
        );
    }
    Ok(status)
}

/// Clears every fault.
pub(crate) async fn clear_all(context: &Context, peer: Peer) -> Result<Vec<FaultStatus>, Failure> {
    let ended = context.engine.end_all(FaultState::Cleared).await?;
    // One by one, not all that the hands hold: a fault that is on its way in is not meant.
    for status in &ended {
        revert(context, status.id).await;
    }
    info!(
        audit = "clear",
        uid = peer.uid,
        pid = peer.pid,
        "all faults cleared: {}",
        ended.len()
    );
    Ok(ended)
}

/// Ends everything at once and refuses new faults.
pub(crate) async fn panic(context: &Context, peer: Peer) -> Result<PanicStatus, Failure> {
    let (mut status, _) = context.engine.panic(peer.uid).await?;
    if let Err(error) = context.hands.revert_all().await {
        warn!(%error, "not everything could be reverted; the guard tries again");
    }
    // A fault that was on its way in: from now on there are none.
    let late = context.engine.end_all(FaultState::Reverted).await?;
    status.faults_ended += late.len() as u64;
    warn!(
        audit = "panic",
        uid = peer.uid,
        pid = peer.pid,
        faults_ended = status.faults_ended,
        "panic: every fault is reverted, new ones are refused"
    );
    Ok(status)
}

/// The id and the time of a fault, if its unit is a target.
async fn begin(context: &Context, spec: &FaultSpec) -> Result<Begun, Failure> {
    let engine = &context.engine;
    match engine.begin(&spec.unit, spec.for_ms, false).await {
        Err(EngineError::NotRunning(_)) => {
            check_scope(context, spec).await?;
            Ok(engine.begin(&spec.unit, spec.for_ms, true).await?)
        }
        other => Ok(other?),
    }
}

/// Refuses units that are no targets.
async fn check_scope(context: &Context, spec: &FaultSpec) -> Result<(), Failure> {
    let paths = context.engine.unit_paths(&spec.unit);
    if paths.iter().any(|path| path.is_dir()) {
        return Ok(());
    }
    match scope::standing(&spec.unit, &context.slices).await {
        Standing::Stopped => Ok(()),
        other => Err(Failure::out_of_scope(&spec.unit, &other, &context.slices)),
    }
}

async fn plan(context: &Context, begun: &Begun, spec: &FaultSpec) -> Result<Plan, Failure> {
    let (fault, cgroups) = (spec.fault.clone(), context.engine.unit_paths(&spec.unit));
    // It looks at files and may start a program.
    let gathered = tokio::task::spawn_blocking(move || Facts::gather(&fault, cgroups)).await;
    let facts = gathered.map_err(|error| Failure::internal(error.to_string()))?;
    let facts = facts.map_err(|error| match error {
        FactError::Field(error) => Failure::invalid(vec![error]),
        error => Failure::internal(error.to_string()),
    })?;
    let term = Term {
        id: begun.id,
        end_ns: begun.end_ns,
    };
    lowering::lower(term, spec, &facts).map_err(Failure::from)
}

/// Has the hands do their part; their counts, where they have one.
async fn apply(
    context: &Context,
    begun: &Begun,
    spec: &FaultSpec,
    plan: &Plan,
) -> Result<Option<Arc<ActorCounts>>, Failure> {
    if plan.changes.is_empty() && plan.actor.is_none() {
        return Ok(None);
    }
    let counts = Arc::new(ActorCounts::default());
    if plan.actor.is_none() && plan.rule.is_none() {
        // A change without events is one event.
        counts.matched.store(1, Ordering::Relaxed);
        counts.injected.store(1, Ordering::Relaxed);
    }
    let actor = plan.actor.clone();
    let applied = context
        .hands
        .apply(
            begun.id,
            &spec.unit,
            begun.end_ns,
            plan.changes.clone(),
            actor.map(|actor| Work {
                actor,
                counts: Arc::clone(&counts),
                is_covert: spec.covert,
            }),
        )
        .await;
    applied.map_err(Failure::from)?;
    Ok(Some(counts))
}

async fn revert(context: &Context, id: u64) {
    if let Err(error) = context.hands.revert(id).await {
        warn!(fault = id, %error, "fault {id} is not reverted; the guard tries again");
    }
}
