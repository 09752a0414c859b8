use std::{path::Path, sync::Arc};

use observastack_loader::Rule;
use observastack_spec::{Fault, api::ErrorCode, fault::FaultRequest, faults::PacketLoss};

use super::*;
use crate::{
    api::Failure,
    host::{actors::ActorCounts, hands, journal::Journal, timer::Unarmed},
};

/// An engine on a machine where nothing can be loaded, like a kernel without BTF.
fn engine_without_programs(state_dir: &Path) -> (Engine, thread::JoinHandle<()>) {
    let (hands, _) = hands::spawn(hands::Options {
        journal: Journal::open(&state_dir.join("journal")).unwrap(),
        lease: state_dir.join("lease"),
        guard: None,
        armer: Box::new(Unarmed),
    })
    .unwrap();
    spawn(Options {
        object: PathBuf::from("/nonexistent/observastack.bpf.o"),
        cgroup_root: PathBuf::from("/sys/fs/cgroup"),
        slices: vec!["observastack-sut.slice".to_owned()],
        state_dir: state_dir.to_owned(),
        hands,
    })
    .unwrap()
}

fn held(begun: Begun, rule: Option<Rule>) -> Held {
    let fault = Fault::PacketLoss(PacketLoss::default());
    let request = FaultRequest::new("shop", fault, Duration::from_secs(1));
    Held {
        begun,
        spec: request.validate(1).unwrap(),
        rule,
        by_hands: Some(Arc::new(ActorCounts::default())),
    }
}

#[tokio::test]
async fn a_kernel_without_the_capability_refuses_with_the_reason_and_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, thread) = engine_without_programs(directory.path());
    let begun = engine.begin("shop.service", 1000, true).await.unwrap();
    let rule = Rule::PacketLoss(observastack_abi::packet_loss::PacketLossRule::default());
    let error = engine.hold(held(begun, Some(rule))).await.unwrap_err();
    assert!(matches!(error, EngineError::NotLoaded(_)), "{error}");
    let failure = Failure::from(error);
    assert_eq!(failure.status, 501);
    assert_eq!(failure.body.code, ErrorCode::Unsupported);
    let text = &failure.body.error;
    assert!(text.contains("/nonexistent/observastack.bpf.o"), "{text}");
    assert!(text.contains("doctor"), "{text}");
    assert!(engine.list().await.unwrap().faults.is_empty());
    assert!(engine.refusals().await.unwrap().all.is_some());
    drop(engine);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_fault_of_the_host_alone_needs_no_programs_and_is_counted_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, _thread) = engine_without_programs(directory.path());
    let begun = engine.begin("shop.service", 60_000, true).await.unwrap();
    let held = held(begun.clone(), None);
    let counts = held.by_hands.clone().unwrap();
    engine.hold(held).await.unwrap();
    counts.injected.store(3, Ordering::Relaxed);
    let series = engine.series().await.unwrap();
    assert_eq!((series[0].active, series[0].counts.injected), (1, 3));
    let ended = engine.end(begun.id).await.unwrap();
    assert_eq!(ended.counts.injected, 3);
    let series = engine.series().await.unwrap();
    assert_eq!((series[0].active, series[0].counts.injected), (0, 3));
}

#[tokio::test]
async fn a_panic_ends_everything_and_refuses_new_faults_until_it_is_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, _thread) = engine_without_programs(directory.path());
    let begun = engine.begin("shop.service", 60_000, true).await.unwrap();
    engine.hold(held(begun, None)).await.unwrap();
    // On its way in when the panic comes.
    let late = engine.begin("shop.service", 60_000, true).await.unwrap();
    let (status, ended) = engine.panic(1000).await.unwrap();
    assert_eq!(
        (status.panicked, status.by_uid, status.faults_ended),
        (true, Some(1000), 1)
    );
    assert_eq!(ended[0].state, FaultState::Reverted);
    let refused = engine.hold(held(late, None)).await.unwrap_err();
    assert!(matches!(refused, EngineError::Panicked), "{refused}");
    let failure = Failure::from(engine.begin("shop.service", 1000, true).await.unwrap_err());
    assert_eq!(failure.body.code, ErrorCode::Panicked);
    assert!(
        failure.body.error.contains("panic --lift"),
        "{}",
        failure.body.error
    );
    // It outlives the injector.
    let (again, _other) = engine_without_programs(directory.path());
    assert!(again.panic_status().await.unwrap().panicked);
    assert!(!again.lift_panic().await.unwrap().panicked);
    again.begin("shop.service", 1000, true).await.unwrap();
}

#[tokio::test]
async fn a_fault_that_does_not_exist_cannot_be_cleared() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, _thread) = engine_without_programs(directory.path());
    assert!(matches!(
        engine.end(7).await,
        Err(EngineError::NoSuchFault(7))
    ));
    assert!(
        engine
            .end_all(FaultState::Cleared)
            .await
            .unwrap()
            .is_empty()
    );
}
