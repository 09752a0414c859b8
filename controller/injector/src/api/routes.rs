//! What each path does.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming};
use observastack_spec::{
    api::{ErrorCode, FaultList},
    fault::FaultRequest,
};
use tracing::info;

use super::{
    peer::Peer,
    response::{Answer, Failure, json},
    server::Context,
    stream,
};
use crate::{
    engine::EngineError,
    report,
    scope::{self, Standing},
};

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Answers one request of an admitted caller.
pub(crate) async fn answer(context: &Context, peer: Peer, request: Request<Incoming>) -> Answer {
    match route(context, peer, request).await {
        Ok(answer) => answer,
        Err(failure) => {
            info!(
                uid = peer.uid,
                pid = peer.pid,
                status = failure.status.as_u16(),
                error = failure.body.error,
                "refused"
            );
            json(failure.status, &failure.body)
        }
    }
}

async fn route(
    context: &Context,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (request.method(), segments.as_slice()) {
        (&Method::POST, ["faults"]) => inject(context, peer, request).await,
        (&Method::GET, ["faults"]) => Ok(json(StatusCode::OK, &context.engine.list().await?)),
        (&Method::DELETE, ["faults"]) => {
            let faults = context.engine.clear_all().await?;
            info!(
                uid = peer.uid,
                pid = peer.pid,
                "all faults cleared: {}",
                faults.len()
            );
            Ok(json(StatusCode::OK, &FaultList { faults }))
        }
        (&Method::GET, ["faults", id]) => {
            let id = fault_id(id)?;
            let faults = context.engine.list().await?.faults;
            let found = faults.into_iter().find(|fault| fault.id == id);
            let found = found.ok_or_else(|| not_found(format!("there is no fault {id}")))?;
            Ok(json(StatusCode::OK, &found))
        }
        (&Method::DELETE, ["faults", id]) => {
            let status = context.engine.clear(fault_id(id)?).await?;
            info!(
                uid = peer.uid,
                pid = peer.pid,
                fault = status.id,
                "fault {} cleared",
                status.id
            );
            Ok(json(StatusCode::OK, &status))
        }
        (&Method::GET, ["faults", id, "decisions"]) => decisions(context, fault_id(id)?).await,
        (&Method::GET, ["capabilities"]) => capabilities(context).await,
        (&Method::GET, ["healthz"]) => {
            context.engine.list().await?;
            Ok(json(
                StatusCode::OK,
                &serde_json::json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}),
            ))
        }
        (
            _,
            ["faults"]
            | ["faults", _]
            | ["faults", _, "decisions"]
            | ["capabilities"]
            | ["healthz"],
        ) => Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::BadRequest,
            format!("{} is not possible on {path}", request.method()),
        )),
        _ => Err(not_found(format!(
            "there is no {path}; try /faults, /capabilities or /healthz"
        ))),
    }
}

async fn inject(
    context: &Context,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let body = body_of(request).await?;
    let wanted: FaultRequest = serde_json::from_slice(&body).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::BadRequest,
            format!("not a fault: {error}"),
        )
    })?;
    // 53 bits: what every reader of JSON keeps, so that the seed in an answer can be used again.
    let seed = rand::random::<u64>() >> 11;
    let spec = wanted.validate(seed).map_err(Failure::invalid)?;
    let status = match context.engine.inject(spec.clone(), false).await {
        Err(EngineError::NotRunning(unit)) => match scope::standing(&unit, &context.slices).await {
            Standing::Stopped => context.engine.inject(spec, true).await?,
            other => return Err(out_of_scope(&unit, &other, &context.slices)),
        },
        other => other?,
    };
    info!(
        uid = peer.uid,
        pid = peer.pid,
        fault = status.id,
        unit = status.spec.unit,
        kind = status.spec.fault.kind(),
        parameters = status.spec.fault.parameters(),
        probability = status.spec.probability,
        seed = status.spec.seed,
        for_ms = status.spec.for_ms,
        "fault {} injected: {} on {}",
        status.id,
        status.spec.fault.kind(),
        status.spec.unit
    );
    Ok(json(StatusCode::CREATED, &status))
}

/// A stream holds a connection for as long as its fault lasts: only so many, or nobody could clear a fault any more.
async fn decisions(context: &Context, id: u64) -> Result<Answer, Failure> {
    let faults = context.engine.list().await?.faults;
    let fault = faults.into_iter().find(|fault| fault.id == id);
    let fault = fault.ok_or_else(|| not_found(format!("there is no fault {id}")))?;
    if !fault.spec.verbose {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            ErrorCode::Conflict,
            format!("fault {id} does not log its decisions; inject it with --verbose"),
        ));
    }
    let slot = Arc::clone(&context.streams)
        .try_acquire_owned()
        .map_err(|_| {
            Failure::new(
                StatusCode::TOO_MANY_REQUESTS,
                ErrorCode::Conflict,
                "too many decision streams are open",
            )
        })?;
    Ok(stream::decisions(context.engine.clone(), id, slot))
}

fn out_of_scope(unit: &str, standing: &Standing, slices: &[String]) -> Failure {
    let targets = slices.join(", ");
    let error = match standing {
        Standing::Elsewhere(slice) => format!(
            "unit: `{unit}` is in {slice}, which is not a target; targets are units in {targets} (target_slices in the injector's configuration)"
        ),
        Standing::Unclear(why) => format!("unit: cannot find out about `{unit}`: {why}"),
        Standing::Unknown | Standing::Stopped => {
            format!(
                "unit: there is no unit `{unit}`; targets are units in {targets} (`observastack-ctl status` lists them)"
            )
        }
    };
    Failure::new(StatusCode::NOT_FOUND, ErrorCode::UnknownUnit, error)
}

async fn capabilities(context: &Context) -> Result<Answer, Failure> {
    let refusals = context.engine.refusals().await?;
    let root = context.cgroup_root.clone();
    let report = tokio::task::spawn_blocking(move || report::report(&root, &refusals)).await;
    let report = report.map_err(|error| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Internal,
            format!("the probe failed: {error}"),
        )
    })?;
    Ok(json(StatusCode::OK, &report))
}

async fn body_of(request: Request<Incoming>) -> Result<Bytes, Failure> {
    let collected = Limited::new(request.into_body(), MAX_BODY).collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| {
            let too_large = error
                .downcast_ref::<http_body_util::LengthLimitError>()
                .is_some();
            let status = if too_large {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            };
            Failure::new(
                status,
                ErrorCode::BadRequest,
                format!("cannot read the body (at most {MAX_BODY} bytes): {error}"),
            )
        })
}

fn fault_id(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::BadRequest,
            format!("`{text}` is not a fault's id (a number from 1)"),
        )
    })
}

fn not_found(error: String) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, error)
}
