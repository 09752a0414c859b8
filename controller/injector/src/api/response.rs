//! Answers, and how failures become one.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{Response, StatusCode, header};
use observastack_loader::ArmError;
use observastack_spec::{
    FieldError,
    api::{ErrorBody, ErrorCode},
};
use serde::Serialize;

use crate::{
    engine::EngineError,
    host::{change::ChangeError, hands::HandsError, journal::JournalError},
    lowering::LowerError,
    scope::Standing,
};

/// An answer: whole, or a stream.
pub(crate) type Answer = Response<BoxBody<Bytes, std::convert::Infallible>>;

/// A failure on its way to the caller.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) body: ErrorBody,
    /// Whether it is of a fault that somebody has to find: then only its caller is told why.
    pub(crate) is_covert: bool,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, error: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                error: error.into(),
                code,
                fields: Vec::new(),
            },
            is_covert: false,
        }
    }

    /// Values that are out of range.
    pub(crate) fn invalid(fields: Vec<FieldError>) -> Self {
        let error = fields
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            body: ErrorBody {
                error,
                code: ErrorCode::Invalid,
                fields,
            },
            is_covert: false,
        }
    }
}

impl Failure {
    /// The same, of a fault that is covert or not.
    pub(crate) fn of(self, is_covert: bool) -> Self {
        Self { is_covert, ..self }
    }

    pub(crate) fn internal(error: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorCode::Internal,
            error,
        )
    }

    /// This machine can't do it.
    pub(crate) fn unsupported(error: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            ErrorCode::Unsupported,
            format!("{error}; `observastack-ctl doctor` tells what is missing"),
        )
    }

    /// The unit is not a target.
    pub(crate) fn out_of_scope(unit: &str, standing: &Standing, slices: &[String]) -> Self {
        let targets = slices.join(", ");
        let error = match standing {
            Standing::Elsewhere(slice) => format!(
                "unit: `{unit}` is in {slice}, which is not a target; targets are units in {targets} (target_slices in the injector's configuration)"
            ),
            Standing::Unclear(why) => {
                return Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    ErrorCode::Internal,
                    format!("unit: cannot find out about `{unit}`: {why}; try again"),
                );
            }
            Standing::Unknown | Standing::Stopped => {
                format!(
                    "unit: there is no unit `{unit}`; targets are units in {targets} (`observastack-ctl status` lists them)"
                )
            }
        };
        Self::new(StatusCode::NOT_FOUND, ErrorCode::UnknownUnit, error)
    }
}

impl From<LowerError> for Failure {
    fn from(error: LowerError) -> Self {
        match error {
            LowerError::Field(error) => Self::invalid(vec![error]),
            LowerError::Missing(what) => Self::unsupported(what),
        }
    }
}

impl From<HandsError> for Failure {
    fn from(error: HandsError) -> Self {
        let (status, code) = match &error {
            HandsError::NoGuard | HandsError::Busy => (StatusCode::CONFLICT, ErrorCode::Conflict),
            HandsError::Journal(JournalError::Held { .. }) => {
                (StatusCode::CONFLICT, ErrorCode::Conflict)
            }
            HandsError::Journal(JournalError::Change(ChangeError::Refused { .. })) => {
                (StatusCode::CONFLICT, ErrorCode::Conflict)
            }
            HandsError::Gone => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Internal),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let (status, code) = match &error {
            EngineError::NotRunning(_) => (StatusCode::NOT_FOUND, ErrorCode::UnknownUnit),
            EngineError::NoSuchFault(_) => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
            EngineError::Panicked => (StatusCode::CONFLICT, ErrorCode::Panicked),
            EngineError::PanicFile { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal)
            }
            EngineError::NotLoaded(_) | EngineError::Arm(ArmError::Unsupported { .. }) => {
                (StatusCode::NOT_IMPLEMENTED, ErrorCode::Unsupported)
            }
            EngineError::Arm(
                ArmError::NoSlice(_) | ArmError::TooManyRules { .. } | ArmError::Unit(_),
            ) => (StatusCode::CONFLICT, ErrorCode::Conflict),
            EngineError::Arm(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal),
            EngineError::Gone => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Internal),
        };
        let mut text = error.to_string();
        if code == ErrorCode::Unsupported {
            text.push_str("; `observastack-ctl doctor` tells what is missing");
        }
        Self::new(status, code, text)
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value)
        .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}").into_bytes());
    with_body(
        status,
        "application/json",
        Full::new(Bytes::from(body)).boxed(),
    )
}

/// An answer with a body of its own.
pub(crate) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: BoxBody<Bytes, std::convert::Infallible>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    answer
}
