//! What each path does.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Method, Request, StatusCode, body::Incoming};
use observastack_spec::{
    api::{ErrorCode, FaultList, FaultStatus, SetRequest},
    fault::FaultRequest,
};
use tracing::info;

use super::{
    peer::Peer,
    response::{Answer, Failure, json},
    server::Context,
    stream,
};
use crate::carry_out;

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Answers one request of an admitted caller.
pub(crate) async fn answer(context: &Context, peer: Peer, request: Request<Incoming>) -> Answer {
    match route(context, peer, request).await {
        Ok(answer) => answer,
        Err(failure) => {
            let error = match failure.is_covert {
                false => failure.body.error.as_str(),
                true => "its caller knows",
            };
            info!(
                audit = "refuse",
                uid = peer.uid,
                pid = peer.pid,
                status = failure.status.as_u16(),
                error,
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
    let is_dry = request
        .uri()
        .query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "dry-run=1"));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (request.method(), segments.as_slice()) {
        (&Method::POST, ["faults"]) => {
            let wanted: FaultRequest = parsed(request, "a fault").await?;
            let is_covert = wanted.covert;
            let begun = begin(context, peer, wanted, is_dry).await;
            begun.map_err(|failure| failure.of(is_covert))
        }
        (&Method::POST, ["fault-sets"]) => {
            let wanted: SetRequest = parsed(request, "a set of faults").await?;
            let is_covert = wanted.faults.iter().any(|fault| fault.covert);
            let begun = begin_set(context, peer, wanted, is_dry).await;
            begun.map_err(|failure| failure.of(is_covert))
        }
        (&Method::GET, ["faults"]) => Ok(json(StatusCode::OK, &context.engine.list().await?)),
        (&Method::DELETE, ["faults"]) => {
            let faults = carry_out::clear_all(context, peer).await?;
            Ok(json(StatusCode::OK, &FaultList { faults }))
        }
        (&Method::GET, ["faults", id]) => {
            let found = fault(context, fault_id(id)?).await?;
            Ok(json(StatusCode::OK, &found))
        }
        (&Method::DELETE, ["faults", id]) => {
            let status = carry_out::clear(context, peer, fault_id(id)?).await?;
            Ok(json(StatusCode::OK, &status))
        }
        (&Method::GET, ["faults", id, "decisions"]) => decisions(context, fault_id(id)?).await,
        (&Method::POST, ["panic"]) => Ok(json(
            StatusCode::OK,
            &carry_out::panic(context, peer).await?,
        )),
        (&Method::GET, ["panic"]) => {
            Ok(json(StatusCode::OK, &context.engine.panic_status().await?))
        }
        (&Method::DELETE, ["panic"]) => {
            let status = context.engine.lift_panic().await?;
            info!(
                audit = "panic-lifted",
                uid = peer.uid,
                pid = peer.pid,
                "the panic is lifted: new faults are taken again"
            );
            Ok(json(StatusCode::OK, &status))
        }
        (&Method::GET, ["capabilities"]) => {
            Ok(json(StatusCode::OK, &context.capabilities().await?))
        }
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
            | ["fault-sets"]
            | ["faults", _]
            | ["faults", _, "decisions"]
            | ["panic"]
            | ["capabilities"]
            | ["healthz"],
        ) => Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::BadRequest,
            format!("{} is not possible on {path}", request.method()),
        )),
        _ => Err(not_found(format!(
            "there is no {path}; try /faults, /fault-sets, /panic, /capabilities or /healthz"
        ))),
    }
}

/// Injects a fault, or says what that would do.
async fn begin(
    context: &Context,
    peer: Peer,
    wanted: FaultRequest,
    is_dry: bool,
) -> Result<Answer, Failure> {
    let spec = wanted.validate(drawn_seed()).map_err(Failure::invalid)?;
    if is_dry {
        let dry = carry_out::dry_run(context, spec).await?;
        return Ok(json(StatusCode::OK, &dry));
    }
    let status = carry_out::inject(context, peer, spec).await?;
    Ok(json(StatusCode::CREATED, &status))
}

/// The same, with all faults of a set.
async fn begin_set(
    context: &Context,
    peer: Peer,
    wanted: SetRequest,
    is_dry: bool,
) -> Result<Answer, Failure> {
    let specs = wanted.validate(drawn_seed).map_err(Failure::invalid)?;
    if is_dry {
        let mut dry = Vec::new();
        for spec in specs {
            dry.push(carry_out::dry_run(context, spec).await?);
        }
        return Ok(json(StatusCode::OK, &dry));
    }
    let faults = carry_out::inject_set(context, peer, specs).await?;
    Ok(json(StatusCode::CREATED, &FaultList { faults }))
}

async fn parsed<T: serde::de::DeserializeOwned>(
    request: Request<Incoming>,
    what: &str,
) -> Result<T, Failure> {
    let body = body_of(request).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            ErrorCode::BadRequest,
            format!("not {what}: {error}"),
        )
    })
}

/// 53 bits: what every reader of JSON keeps, so that the seed in an answer can be used again.
fn drawn_seed() -> u64 {
    rand::random::<u64>() >> 11
}

/// One fault, active or ended.
async fn fault(context: &Context, id: u64) -> Result<FaultStatus, Failure> {
    let faults = context.engine.list().await?.faults;
    let found = faults.into_iter().find(|fault| fault.id == id);
    found.ok_or_else(|| not_found(format!("there is no fault {id}")))
}

/// A stream holds a connection for as long as its fault lasts: only so many, or nobody could clear a fault any more.
async fn decisions(context: &Context, id: u64) -> Result<Answer, Failure> {
    let fault = fault(context, id).await?;
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
