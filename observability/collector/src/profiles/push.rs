//! `POST /push.v1.PusherService/Push`: Pyroscope's push API, by the Connect protocol, in protobuf.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use observastack_telemetry::pprof::{CONTENT_TYPE, PUSH_PATH, PushRequest};
use prost::Message as _;
use serde_json::{Map, Value, json};
use tonic::Code;

use super::pprof;
use crate::model::{ProfileRow, Signal};
use crate::otlp::{Status, http::Context, read_body};
use crate::store;

/// The route.
pub fn routes(context: Context) -> Router {
    Router::new()
        .route(PUSH_PATH, post(push))
        .with_state(context)
}

async fn push(State(context): State<Context>, request: Request<Body>) -> Response {
    match take(&context, request).await {
        Ok(()) => {
            // PushResponse is an empty message.
            let mut response = Response::new(Body::empty());
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
            response
        }
        Err(status) => {
            if status.retry_after_s.is_none() {
                let metrics = &context.receiver.metrics;
                metrics.bad_request(Signal::Profiles, "malformed");
            }
            connect_error(&status)
        }
    }
}

async fn take(context: &Context, request: Request<Body>) -> Result<(), Status> {
    let (parts, body) = request.into_parts();
    let text = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let kind = text(header::CONTENT_TYPE).unwrap_or("");
    if kind != CONTENT_TYPE {
        return Err(Status::unsupported(format!(
            "Content-Type {kind:?} is not known; allowed: {CONTENT_TYPE}"
        )));
    }
    let mut share = context.memory.share();
    let encoding = text(header::CONTENT_ENCODING);
    let raw = read_body(body, encoding, &context.limits, &mut share).await?;
    let request = PushRequest::decode(raw.clone())
        .map_err(|error| Status::malformed(format!("the body is not a PushRequest: {error}")))?;
    let (rows, rejected, why) = rows(request);
    if rows.is_empty()
        && let Some(why) = why
    {
        let metrics = &context.receiver.metrics;
        metrics.rejected(Signal::Profiles, "invalid", rejected);
        return Err(Status::malformed(why));
    }
    context.receiver.profiles(rows, rejected, || raw)?;
    Ok(())
}

/// The profiles, how many are none, and why the first of these is not.
fn rows(request: PushRequest) -> (Vec<ProfileRow>, usize, Option<String>) {
    let (mut rows, mut rejected, mut why) = (Vec::new(), 0, None);
    for series in request.series {
        let label = |name: &str| {
            let found = series.labels.iter().find(|label| label.name == name);
            found.map(|label| label.value.clone())
        };
        let service = label("service_name").unwrap_or_else(|| "unknown_service".to_owned());
        let kind = label("__name__").unwrap_or_else(|| "process_cpu".to_owned());
        let labels: Map<String, Value> = series
            .labels
            .iter()
            .map(|label| (label.name.clone(), Value::from(label.value.as_str())))
            .collect();
        let labels = Value::Object(labels).to_string();
        for sample in series.samples {
            match pprof::decode(&sample.raw_profile) {
                Ok(profile) => rows.push(ProfileRow {
                    service: service.clone(),
                    kind: kind.clone(),
                    start_ns: match profile.time_nanos {
                        0 => store::now_ns(),
                        time => time,
                    },
                    labels: labels.clone(),
                    pprof: sample.raw_profile,
                }),
                Err(error) => {
                    rejected += 1;
                    why.get_or_insert(format!("a profile of {service}: {error}"));
                }
            }
        }
    }
    (rows, rejected, why)
}

/// Connect's errors are JSON, whatever the request was.
fn connect_error(status: &Status) -> Response {
    let code = match status.code {
        Code::ResourceExhausted => "resource_exhausted",
        Code::DeadlineExceeded => "deadline_exceeded",
        _ => "invalid_argument",
    };
    let body = json!({ "code": code, "message": status.message }).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = match status.http {
        // Connect knows no 413.
        StatusCode::PAYLOAD_TOO_LARGE => StatusCode::BAD_REQUEST,
        http => http,
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    if let Some(seconds) = status.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
