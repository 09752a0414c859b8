//! Answers of the gateway itself, as JSON.

use bytes::Bytes;
use http::{Method, header};
use observastack_telemetry::traces::TRACEPARENT;
use pingora::{http::ResponseHeader, proxy::Session};
use serde::Serialize;

use crate::{context::Identity, failure::Failure, request_id};

/// Body of an error answer.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    source: crate::failure::Source,
    kind: &'a str,
    status: u16,
    request_id: &'a str,
}

/// Answers with a failure.
pub async fn failure(
    session: &mut Session,
    identity: &Identity,
    failure: &Failure,
) -> pingora::Result<()> {
    let body = ErrorBody {
        error: &failure.message,
        source: failure.source,
        kind: failure.kind,
        status: failure.status,
        request_id: &identity.request_id,
    };
    json(
        session,
        identity,
        failure.status,
        failure.retry_after_s,
        &body,
    )
    .await
}

/// Answers with a JSON body that no cache may keep.
pub async fn json(
    session: &mut Session,
    identity: &Identity,
    status: u16,
    retry_after_s: Option<u64>,
    body: &impl Serialize,
) -> pingora::Result<()> {
    let body = Bytes::from(serde_json::to_vec(body).unwrap_or_default());
    let mut head = ResponseHeader::build(status, Some(8))?;
    head.insert_header(header::CONTENT_TYPE, "application/json")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    if let Some(seconds) = retry_after_s {
        head.insert_header(header::RETRY_AFTER, seconds)?;
    }
    identify(&mut head, identity)?;
    let bodiless = session.req_header().method == Method::HEAD;
    session
        .write_response_header(Box::new(head), bodiless)
        .await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Adds the request's id and trace to an answer's head. `server-timing` is where browsers look for the trace.
pub fn identify(head: &mut ResponseHeader, identity: &Identity) -> pingora::Result<()> {
    head.insert_header(request_id::HEADER, identity.request_id.as_str())?;
    if let Some(span) = &identity.span {
        let parent = span.traceparent();
        head.append_header("server-timing", format!("traceparent;desc=\"{parent}\""))?;
        head.insert_header(TRACEPARENT, parent)?;
    }
    Ok(())
}
