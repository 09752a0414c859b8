//! What is said where something comes to nothing.

use axum::{
    Json,
    extract::rejection::{JsonRejection, QueryRejection},
    http::{StatusCode, Uri, header::WWW_AUTHENTICATE},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::Role;
use crate::{engine::Stopping, runner::Refusal, store::StoreError};

/// A status, a word for programs, and words for people.
#[derive(Debug)]
pub(super) struct Failure(StatusCode, &'static str, String);

impl Failure {
    pub(super) fn no_token() -> Self {
        let words = "who are you? Authorization: Bearer, with a token of this lab's".to_owned();
        Self(StatusCode::UNAUTHORIZED, "no-token", words)
    }

    pub(super) fn not_allowed(needed: Role) -> Self {
        let words = format!(
            "this needs the role {}",
            format!("{needed:?}").to_lowercase()
        );
        Self(StatusCode::FORBIDDEN, "not-allowed", words)
    }

    pub(super) fn bad(words: String) -> Self {
        Self(StatusCode::BAD_REQUEST, "bad-request", words)
    }

    pub(super) fn none(words: &str) -> Self {
        Self(StatusCode::NOT_FOUND, "not-found", words.to_owned())
    }
}

pub(super) async fn no_route(uri: Uri) -> Failure {
    let path: String = uri.path().chars().take(200).collect();
    Failure::none(&format!("there is no {path}; see /api/openapi.json"))
}

impl From<Stopping> for Failure {
    fn from(error: Stopping) -> Self {
        Self(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            error.to_string(),
        )
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store does not answer");
        let words = "the controller's store does not answer; its journal says why".to_owned();
        Self(StatusCode::INTERNAL_SERVER_ERROR, "store", words)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Store(_) => return Self::internal(refusal),
            Refusal::Busy => (StatusCode::CONFLICT, "busy"),
            Refusal::NoRun => (StatusCode::CONFLICT, "no-run"),
            Refusal::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown-drill"),
            Refusal::Lacks { .. } => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
            Refusal::Lab(_) => (StatusCode::SERVICE_UNAVAILABLE, "lab"),
            Refusal::NotNow(_) => (StatusCode::CONFLICT, "not-now"),
            Refusal::NoHint => (StatusCode::CONFLICT, "no-hint"),
            Refusal::NoDiagnosis => (StatusCode::CONFLICT, "no-diagnosis"),
            Refusal::NotLearners | Refusal::TooMuch => (StatusCode::BAD_REQUEST, "bad-request"),
            Refusal::NotTheirs => (StatusCode::FORBIDDEN, "not-yours"),
        };
        Self(status, code, refusal.to_string())
    }
}

impl Failure {
    fn internal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => error.into(),
            other => Self(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                other.to_string(),
            ),
        }
    }
}

impl From<JsonRejection> for Failure {
    fn from(error: JsonRejection) -> Self {
        Self::bad(error.body_text())
    }
}

impl From<QueryRejection> for Failure {
    fn from(error: QueryRejection) -> Self {
        Self::bad(error.body_text())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(status, code, words) = self;
        let body = Json(json!({"error": words, "code": code}));
        if status == StatusCode::UNAUTHORIZED {
            return (status, [(WWW_AUTHENTICATE, "Bearer")], body).into_response();
        }
        (status, body).into_response()
    }
}
