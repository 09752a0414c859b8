//! Answers and errors as HTTP.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::ParamError;
use crate::store::read::ReadError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error("{what} is not here: it was never received, or is older than the store keeps")]
    NotFound { what: String },
    #[error("there is no {path}; see /openapi.json for what there is")]
    NoRoute { path: String },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("too many live tails: {limit} are running")]
    TooManyTails { limit: usize },
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Param(_) => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } | Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::TooManyTails { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Read(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if let Self::Read(error) = &self {
            tracing::warn!(%error, "a query failed");
        }
        let body = json!({ "error": self.to_string() }).to_string();
        with_json(status, body)
    }
}

/// 200 with JSON.
pub(super) fn json<T: Serialize>(answer: &T) -> Response {
    match serde_json::to_string(answer) {
        Ok(body) => with_json(StatusCode::OK, body),
        // No answer has a map with keys that are not text, which is what could fail.
        Err(error) => with_json(
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "error": error.to_string() }).to_string(),
        ),
    }
}

fn with_json(status: StatusCode, body: String) -> Response {
    let mut response = of_kind("application/json", body.into());
    *response.status_mut() = status;
    response
}

/// 200 with a body of this content type, which nobody keeps.
pub(super) fn of_kind(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
