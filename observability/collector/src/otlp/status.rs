//! `google.rpc.Status`, the body of every error that OTLP knows, and what it becomes in HTTP and gRPC.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use prost::Message as _;
use serde_json::json;
use tonic::Code;

use super::BodyError;
use crate::intake::Full;

/// An error, before it is known how to tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The status over HTTP.
    pub http: StatusCode,
    /// The status over gRPC.
    pub code: Code,
    /// What was wrong, and what would be right.
    pub message: String,
    /// When to come again.
    pub retry_after_s: Option<u32>,
}

impl Status {
    /// A request that cannot be read.
    #[must_use]
    pub fn malformed(message: String) -> Self {
        Self {
            http: StatusCode::BAD_REQUEST,
            code: Code::InvalidArgument,
            message,
            retry_after_s: None,
        }
    }

    pub(crate) fn unsupported(message: String) -> Self {
        Self {
            http: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..Self::malformed(message)
        }
    }

    /// Over gRPC, with `google.rpc.RetryInfo` where the sender is to come again.
    #[must_use]
    pub fn into_grpc(self) -> tonic::Status {
        let details = self.to_proto().encode_to_vec();
        tonic::Status::with_details(self.code, self.message, details.into())
    }

    /// Over HTTP, in the request's own form.
    #[must_use]
    pub fn into_http(self, as_json: bool) -> Response {
        let (kind, body) = if as_json {
            let status = json!({ "code": self.code as i32, "message": self.message });
            ("application/json", status.to_string().into_bytes())
        } else {
            ("application/x-protobuf", self.to_proto().encode_to_vec())
        };
        let mut response = Response::new(body.into());
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn to_proto(&self) -> ProtoStatus {
        let details = self.retry_after_s.map(|seconds| Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo {
                retry_delay: Some(Duration {
                    seconds: i64::from(seconds),
                    nanos: 0,
                }),
            }
            .encode_to_vec(),
        });
        ProtoStatus {
            code: self.code as i32,
            message: self.message.clone(),
            details: details.into_iter().collect(),
        }
    }
}

impl From<Full> for Status {
    fn from(full: Full) -> Self {
        Self {
            http: StatusCode::TOO_MANY_REQUESTS,
            code: Code::ResourceExhausted,
            message: full.to_string(),
            retry_after_s: Some(full.retry_after_s),
        }
    }
}

impl From<BodyError> for Status {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::TooLarge { .. } => Self {
                http: StatusCode::PAYLOAD_TOO_LARGE,
                ..Self::malformed(message)
            },
            BodyError::Busy => Self {
                http: StatusCode::TOO_MANY_REQUESTS,
                code: Code::ResourceExhausted,
                message,
                retry_after_s: Some(1),
            },
            BodyError::TooSlow { .. } => Self {
                http: StatusCode::REQUEST_TIMEOUT,
                code: Code::DeadlineExceeded,
                message,
                retry_after_s: None,
            },
            BodyError::Encoding { .. } => Self::unsupported(message),
            BodyError::Broken { .. } | BodyError::Gzip { .. } => Self::malformed(message),
        }
    }
}

/// google/rpc/status.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// google/protobuf/any.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// google/rpc/error_details.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

/// google/protobuf/duration.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct Duration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
