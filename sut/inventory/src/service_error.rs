//! Errors of the shop's services as their clients see them: `{"error":{"code","message",...}}` and a status that says
//! whose turn it is.

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use observastack_kit::http::{HttpError, Response, json};
use serde_json::{Map, Value};

use crate::database::DatabaseError;

/// A request that a service could not or would not do.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// The answer's status.
    pub status: StatusCode,
    /// A word for programs, such as `insufficient_stock`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// More members of the answer's `error`, such as the SKU in question.
    pub details: Map<String, Value>,
    /// Seconds after which trying again makes sense.
    pub retry_after_seconds: Option<u32>,
    /// What is behind it: for the log only.
    pub cause: Option<String>,
}

impl ServiceError {
    /// An error with nothing but status, code and message.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ServiceError {
            status,
            code,
            message: message.into(),
            details: Map::new(),
            retry_after_seconds: None,
            cause: None,
        }
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn not_found(what: &str, which: impl std::fmt::Display) -> Self {
        ServiceError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {what} {which}"),
        )
    }

    /// 422: well-formed, but not something that can be done. `field` is dotted, such as `lines.0.sku`.
    #[must_use]
    pub fn invalid(
        field: impl Into<String>,
        value: impl std::fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        let (field, value, allowed) = (field.into(), value.to_string(), allowed.into());
        ServiceError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            format!("{field}: {value} is not allowed, allowed: {allowed}"),
        )
        .with(
            "fields",
            serde_json::json!([{"field": field, "value": value, "allowed": allowed}]),
        )
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let mut error = ServiceError::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        error.retry_after_seconds = Some(1);
        error
    }

    /// Adds a member to the answer's `error`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Adds what is behind it, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    fn into_response(self) -> Result<Response, HttpError> {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code.into());
        error.insert("message".to_owned(), self.message.into());
        error.extend(self.details);
        let mut response = json(self.status, &serde_json::json!({ "error": error }))?;
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        Ok(response)
    }
}

/// What a handler returns to the server, from what its work came to; logs what is the service's own trouble.
///
/// # Errors
/// An error's details that can't be JSON, which none of ours are.
pub fn answer(outcome: Result<Response, ServiceError>) -> Result<Response, HttpError> {
    match outcome {
        Ok(response) => Ok(response),
        Err(error) => {
            let cause = error.cause.as_deref().unwrap_or_default();
            if error.status == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!(error_type = error.code, cause, "{}", error.message);
            } else if error.status.is_server_error() {
                tracing::warn!(error_type = error.code, cause, "{}", error.message);
            }
            error.into_response()
        }
    }
}

impl From<DatabaseError> for ServiceError {
    fn from(error: DatabaseError) -> Self {
        ServiceError::from(&error)
    }
}

impl From<&DatabaseError> for ServiceError {
    fn from(error: &DatabaseError) -> Self {
        let code = error.code();
        let answer = match error {
            DatabaseError::PoolExhausted { .. } => {
                ServiceError::unavailable(code, "all database connections are in use")
            }
            DatabaseError::Unreachable { .. } => {
                ServiceError::unavailable(code, "the database is not reachable")
            }
            DatabaseError::NotMigrated { .. } => {
                ServiceError::unavailable(code, "the service is starting")
            }
            DatabaseError::Conflict { .. } => {
                ServiceError::unavailable(code, "another request was in the way")
            }
            DatabaseError::StatementTimeout { .. } => ServiceError::new(
                StatusCode::GATEWAY_TIMEOUT,
                code,
                "the database took too long",
            ),
            DatabaseError::PasswordFile { .. }
            | DatabaseError::Constraint { .. }
            | DatabaseError::Statement { .. }
            | DatabaseError::Migration { .. } => {
                ServiceError::new(StatusCode::INTERNAL_SERVER_ERROR, code, "internal error")
            }
        };
        answer.because(error)
    }
}

impl From<HttpError> for ServiceError {
    fn from(error: HttpError) -> Self {
        let code = match error.status {
            StatusCode::BAD_REQUEST => "bad_request",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::REQUEST_TIMEOUT => "request_timeout",
            StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
            StatusCode::UNPROCESSABLE_ENTITY => "invalid_request",
            _ => "internal",
        };
        let mut answer = ServiceError::new(error.status, code, error.message);
        if !error.fields.is_empty() {
            answer = answer.with("fields", serde_json::json!(error.fields));
        }
        if let Some(source) = error.source {
            answer = answer.because(source);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_database_error_has_the_status_that_tells_a_client_what_to_do() {
        let unreachable = || DatabaseError::Unreachable {
            reason: "refused".into(),
        };
        let cases = [
            (
                DatabaseError::PoolExhausted {
                    size: 2,
                    waited_ms: 10,
                },
                503,
                true,
            ),
            (unreachable(), 503, true),
            (DatabaseError::NotMigrated { statement: "s" }, 503, true),
            (DatabaseError::Conflict { statement: "s" }, 503, true),
            (
                DatabaseError::StatementTimeout {
                    statement: "s",
                    timeout_ms: 1,
                },
                504,
                false,
            ),
            (
                DatabaseError::Statement {
                    statement: "s",
                    reason: "broken".into(),
                },
                500,
                false,
            ),
        ];
        for (error, status, retry) in cases {
            let code = error.code();
            let response = answer(Err(error.into())).unwrap();
            assert_eq!(response.status().as_u16(), status, "{code}");
            assert_eq!(
                response.headers().contains_key(RETRY_AFTER),
                retry,
                "{code}"
            );
        }
    }

    #[test]
    fn causes_stay_in_the_log() {
        let error = ServiceError::from(DatabaseError::Unreachable {
            reason: "10.1.2.3 refused".into(),
        });
        assert!(error.cause.as_deref().unwrap().contains("10.1.2.3"));
        assert!(!error.message.contains("10.1.2.3"));
    }
}
