//! A request as its handler sees it.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;

use super::HttpError;
use crate::config::{FieldError, document};

/// The longest body a request may have.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// What is read past the limit, so that the client has sent its request and reads the answer.
const DISCARD_BYTES: usize = 1024 * 1024;

/// A request on its way to a handler.
#[derive(Debug)]
pub struct Request {
    pub(super) head: Parts,
    pub(super) body: Option<Incoming>,
    pub(super) params: Vec<(&'static str, String)>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) config_version: u64,
    pub(super) body_timeout: Duration,
}

impl Request {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The path as sent, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header's value, if it is there once and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// The client's address; `None` on a Unix socket.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The configuration's version when the request came in: the label on its metrics.
    #[must_use]
    pub fn config_version(&self) -> u64 {
        self.config_version
    }

    /// The request's id, from the gateway (`X-Request-Id`); empty without one.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.header("x-request-id").unwrap_or_default()
    }

    /// A part of the path by its name in the route's template.
    ///
    /// # Errors
    /// 404 when it cannot be read as a `T`: there is nothing of that name.
    pub fn param<T: FromStr>(&self, name: &str) -> Result<T, HttpError> {
        let raw = self
            .params
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str());
        raw.and_then(|raw| raw.parse().ok()).ok_or_else(|| {
            let raw = raw.unwrap_or_default();
            HttpError::new(StatusCode::NOT_FOUND, format!("no such {name}: {raw:?}"))
        })
    }

    /// The first value of a query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query()?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true).as_deref() == Some(name))
                .then(|| percent_decode(value, true))?
        })
    }

    /// A query parameter as a `T`; `None` when it is not there.
    ///
    /// # Errors
    /// 422 naming the parameter, its value and `allowed`.
    pub fn query_as<T: FromStr>(&self, name: &str, allowed: &str) -> Result<Option<T>, HttpError> {
        let Some(raw) = self.query(name) else {
            return Ok(None);
        };
        raw.parse().map(Some).map_err(|_| {
            let refused = FieldError::new(name, format!("{raw:?}"), allowed);
            HttpError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "a query parameter is not allowed",
            )
            .with_fields(vec![refused])
        })
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 when it is longer than [`MAX_BODY_BYTES`], 408 when it does not come in time, 400 when it breaks off.
    pub async fn bytes(&mut self) -> Result<Bytes, HttpError> {
        let Some(body) = self.body.take() else {
            return Ok(Bytes::new());
        };
        tokio::time::timeout(self.body_timeout, read(body))
            .await
            .unwrap_or_else(|_| {
                let message = format!(
                    "the body did not arrive within {} ms",
                    self.body_timeout.as_millis()
                );
                Err(HttpError::new(StatusCode::REQUEST_TIMEOUT, message))
            })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// As [`Request::bytes`]; 400 when it is not JSON, 422 naming the field when it is not a `T`.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T, HttpError> {
        let value = self.json_value().await?;
        document::read(&value).map_err(|(_, refused)| {
            HttpError::new(StatusCode::UNPROCESSABLE_ENTITY, "a field is not allowed")
                .with_fields(vec![refused])
        })
    }

    /// The body as JSON of any shape.
    ///
    /// # Errors
    /// As [`Request::bytes`]; 400 when it is not JSON.
    pub async fn json_value(&mut self) -> Result<serde_json::Value, HttpError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            HttpError::new(
                StatusCode::BAD_REQUEST,
                format!("the body is not JSON: {error}"),
            )
        })
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, HttpError> {
    let announced = body.size_hint().lower();
    let mut content = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            HttpError::new(StatusCode::BAD_REQUEST, "the body broke off").with_source(error)
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= MAX_BODY_BYTES {
            content.extend_from_slice(&data);
        } else if length > MAX_BODY_BYTES + DISCARD_BYTES
            || announced > (MAX_BODY_BYTES + DISCARD_BYTES) as u64
        {
            break;
        }
    }
    if length > MAX_BODY_BYTES {
        let message = format!("the body is too long, allowed: {MAX_BODY_BYTES} bytes");
        return Err(HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(content.freeze())
}

/// Decodes `%41` (and `+` in a query); `None` when the result is not UTF-8 or an escape is broken.
pub(super) fn percent_decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
