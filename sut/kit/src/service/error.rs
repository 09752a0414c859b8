//! Errors of the shop's services as their clients see them: `{"error":{"code","message",...}}` and a status that says
//! whose turn it is.

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

use crate::http::HttpError;

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
    /// Headers of the answer, such as `Retry-After`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is behind it: for the log only.
    pub cause: Option<Box<str>>,
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
            headers: Vec::new(),
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

    /// 503: not now, but perhaps in a second (`Retry-After: 1`).
    #[must_use]
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let mut error = ServiceError::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        error
            .headers
            .push((RETRY_AFTER, HeaderValue::from_static("1")));
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
        self.cause = Some(cause.to_string().into());
        self
    }
}

/// For [`Router::render_errors`](crate::http::Router::render_errors): gives the server's own errors the services' shape.
#[must_use]
pub fn render_error(error: HttpError) -> HttpError {
    if error.content.is_some() {
        error
    } else {
        ServiceError::from(error).into()
    }
}

impl From<ServiceError> for HttpError {
    fn from(error: ServiceError) -> Self {
        let mut content = Map::new();
        content.insert("code".to_owned(), error.code.into());
        content.insert("message".to_owned(), error.message.clone().into());
        content.extend(error.details);
        let mut answer = HttpError::new(error.status, error.message)
            .with_content(serde_json::json!({ "error": content }));
        answer.headers = error.headers;
        // The code tells the log's reader which of the same messages it is.
        match error.cause {
            Some(cause) => answer.with_source(format!("{}: {cause}", error.code)),
            None => answer,
        }
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
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            _ => "internal",
        };
        let mut answer = ServiceError::new(error.status, code, error.message);
        answer.headers = error.headers;
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
    fn the_servers_own_errors_get_the_services_shape_and_the_services_keep_theirs() {
        let unknown = render_error(HttpError::new(StatusCode::NOT_FOUND, "no such path: /x"));
        let content = unknown.content.unwrap();
        assert_eq!(
            *content,
            serde_json::json!({"error": {"code": "not_found", "message": "no such path: /x"}})
        );

        let short = ServiceError::new(StatusCode::CONFLICT, "insufficient_stock", "P1 is short")
            .with("sku", "P1");
        let content = render_error(short.into()).content.unwrap();
        let expected = serde_json::json!({"code": "insufficient_stock", "message": "P1 is short", "sku": "P1"});
        assert_eq!(content["error"], expected);
    }

    #[test]
    fn headers_of_the_servers_errors_stay() {
        let allow = (http::header::ALLOW, HeaderValue::from_static("GET"));
        let error = HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "no")
            .with_header(allow.0.clone(), allow.1.clone());
        assert_eq!(render_error(error).headers, [allow]);
    }
}
