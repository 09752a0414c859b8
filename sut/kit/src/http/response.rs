//! Responses, and errors that become one.

use bytes::Bytes;
use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;

use crate::config::FieldError;

/// The body of a response.
pub type Body = Full<Bytes>;

/// A response of a service.
pub type Response = hyper::Response<Body>;

/// A JSON response.
///
/// # Errors
/// A value that cannot be JSON (a map whose keys are no strings): an internal error.
pub fn json(status: StatusCode, value: &(impl Serialize + ?Sized)) -> Result<Response, HttpError> {
    let body = serde_json::to_vec(value).map_err(HttpError::internal)?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A request that fails: its status, and the JSON body `{"error": "...", "fields": [..]}`. A service with another shape
/// for its errors sets it with [`Router::render_errors`](super::Router::render_errors).
#[derive(Debug, thiserror::Error)]
#[error("{status}: {message}")]
pub struct HttpError {
    /// The response's status.
    pub status: StatusCode,
    /// What the client is told.
    pub message: String,
    /// The refused fields, for a request whose content is wrong.
    pub fields: Vec<FieldError>,
    /// Headers of the response, e.g. `Retry-After`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body of the response, in place of message and fields.
    pub content: Option<Box<serde_json::Value>>,
    /// What is behind it: logged, never sent.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl HttpError {
    /// An error with a message for the client.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            fields: Vec::new(),
            headers: Vec::new(),
            content: None,
            source: None,
        }
    }

    /// A failure of the service itself: 500, with the cause in the log only.
    #[must_use]
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").with_source(source)
    }

    /// The cause, for the log.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The refused fields.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.fields = fields;
        self
    }

    /// A header for the response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The whole body of the response, in place of message and fields.
    #[must_use]
    pub fn with_content(mut self, content: serde_json::Value) -> Self {
        self.content = Some(Box::new(content));
        self
    }

    /// The response for the client.
    #[must_use]
    pub fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Content {
            error: String,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            fields: Vec<FieldError>,
        }
        let content = Content {
            error: self.message,
            fields: self.fields,
        };
        let mut response = match self.content {
            Some(content) => json(self.status, &content),
            None => json(self.status, &content),
        }
        .unwrap_or_default();
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response
    }

    /// The cause and its causes in one line, for the log.
    pub(super) fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next: Option<&dyn std::error::Error> =
            self.source.as_ref().map(|source| source.as_ref() as _);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}
