//! OTLP/HTTP: protobuf and JSON, gzip or not.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Limits, Memory, Outcome, Receiver, Status, body};
use crate::model::Signal;

/// What every route needs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where requests end.
    pub receiver: Receiver,
    /// What one may cost.
    pub limits: Limits,
    /// What all of them may cost.
    pub memory: Memory,
}

/// `POST /v1/traces`, `/v1/logs` and `/v1/metrics`.
pub fn routes(context: Context) -> Router {
    Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/logs", post(logs))
        .route("/v1/metrics", post(metrics))
        .with_state(context)
}

/// The two forms of OTLP/HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

async fn traces(State(context): State<Context>, request: Request<Body>) -> Response {
    handle(&context, request, Signal::Traces, |request, raw| {
        let Outcome { rejected, why } = context.receiver.traces(request, raw)?;
        Ok(ExportTraceServiceResponse {
            partial_success: (rejected > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: count(rejected),
                error_message: why,
            }),
        })
    })
    .await
}

async fn logs(State(context): State<Context>, request: Request<Body>) -> Response {
    handle(&context, request, Signal::Logs, |request, raw| {
        let Outcome { rejected, why } = context.receiver.logs(request, raw)?;
        Ok(ExportLogsServiceResponse {
            partial_success: (rejected > 0).then(|| ExportLogsPartialSuccess {
                rejected_log_records: count(rejected),
                error_message: why,
            }),
        })
    })
    .await
}

async fn metrics(State(context): State<Context>, request: Request<Body>) -> Response {
    let take = |request: &ExportMetricsServiceRequest, _: Raw<'_>| {
        context.receiver.metrics(request);
        Ok(ExportMetricsServiceResponse {
            partial_success: None,
        })
    };
    handle(&context, request, Signal::Metrics, take).await
}

/// Gives the request in protobuf.
type Raw<'a> = Box<dyn FnOnce() -> Bytes + 'a>;

async fn handle<Q, A>(
    context: &Context,
    request: Request<Body>,
    signal: Signal,
    take: impl FnOnce(&Q, Raw<'_>) -> Result<A, Status>,
) -> Response
where
    Q: Message + Default + DeserializeOwned,
    A: Message + Serialize,
{
    let (parts, body) = request.into_parts();
    let form = match form(&parts.headers) {
        Ok(form) => form,
        Err(status) => {
            context.receiver.metrics.bad_request(signal, "content_type");
            return status.into_http(true);
        }
    };
    let answered = async {
        let mut share = context.memory.share();
        let encoding = text(&parts.headers, header::CONTENT_ENCODING);
        let raw = body::read(body, encoding, &context.limits, &mut share).await?;
        let decoded: Q = decode(&raw, form)?;
        let take_raw: Raw<'_> = match form {
            Form::Protobuf => Box::new(move || raw),
            Form::Json => Box::new(|| decoded.encode_to_vec().into()),
        };
        take(&decoded, take_raw)
    }
    .await;
    match answered {
        Ok(answer) => success(&answer, form),
        Err(status) => {
            let status: Status = status;
            if status.retry_after_s.is_none() {
                let reason = match status.http.as_u16() {
                    408 => "too_slow",
                    413 => "too_large",
                    415 => "content_encoding",
                    _ => "malformed",
                };
                context.receiver.metrics.bad_request(signal, reason);
            }
            status.into_http(form == Form::Json)
        }
    }
}

fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let found = text(headers, header::CONTENT_TYPE).unwrap_or("");
    let kind = found.split(';').next().unwrap_or("").trim();
    match kind.to_ascii_lowercase().as_str() {
        "application/x-protobuf" => Ok(Form::Protobuf),
        "application/json" => Ok(Form::Json),
        _ => Err(Status::unsupported(format!(
            "Content-Type {found:?} is not known; allowed: application/x-protobuf, application/json"
        ))),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn decode<Q: Message + Default + DeserializeOwned>(raw: &Bytes, form: Form) -> Result<Q, Status> {
    match form {
        Form::Protobuf => Q::decode(raw.clone())
            .map_err(|error| Status::malformed(format!("the body is not valid protobuf: {error}"))),
        Form::Json => serde_json::from_slice(raw).map_err(|error| {
            Status::malformed(format!("the body is not valid OTLP JSON: {error}"))
        }),
    }
}

fn success<A: Message + Serialize>(answer: &A, form: Form) -> Response {
    let (kind, body) = match form {
        Form::Protobuf => ("application/x-protobuf", answer.encode_to_vec()),
        Form::Json => (
            "application/json",
            // A message of numbers and text always has a JSON form.
            serde_json::to_vec(answer).unwrap_or_else(|_| b"{}".to_vec()),
        ),
    };
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}
