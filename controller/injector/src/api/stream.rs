//! A verbose rule's decisions, line by line, until the rule ends or the caller goes.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, channel::Channel};
use hyper::StatusCode;
use observastack_spec::api::{Decision, FaultState};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::response::{Answer, with_body};
use crate::engine::Engine;

/// How often a quiet stream looks whether its rule still holds.
const LOOK: Duration = Duration::from_millis(250);

/// Starts a stream of one fault's decisions as newline-delimited JSON.
pub(crate) fn decisions(engine: Engine, id: u64, slot: OwnedSemaphorePermit) -> Answer {
    let decisions = engine.decisions();
    let (mut lines, body) = Channel::<Bytes>::new(64);
    tokio::spawn(async move {
        let _slot = slot;
        let mut decisions = decisions;
        loop {
            match tokio::time::timeout(LOOK, next_of(&mut decisions, id)).await {
                Ok(Some(decision)) => {
                    let Ok(mut line) = serde_json::to_vec(&decision) else {
                        return;
                    };
                    line.push(b'\n');
                    if lines.send_data(Bytes::from(line)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(_quiet) => {
                    let Ok(list) = engine.list().await else {
                        return;
                    };
                    if !list
                        .faults
                        .iter()
                        .any(|fault| fault.id == id && fault.state == FaultState::Active)
                    {
                        return;
                    }
                    // An empty line shows whether the caller is still there.
                    if lines.send_data(Bytes::from_static(b"\n")).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    with_body(
        StatusCode::OK,
        "application/x-ndjson",
        body.map_err(|never| match never {}).boxed(),
    )
}

async fn next_of(decisions: &mut Receiver<Decision>, id: u64) -> Option<Decision> {
    loop {
        match decisions.recv().await {
            Ok(decision) if decision.fault == id => return Some(decision),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}
