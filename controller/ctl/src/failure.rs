//! What can go wrong, what is printed of it, and with which exit code.

use std::{io, path::PathBuf, process::ExitCode};

use observastack_spec::{FieldError, api::ErrorBody};
use serde_json::{Value, json};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Values that are out of range, found here or by the service.
    #[error("{}", list(.0))]
    Invalid(Vec<FieldError>),
    /// The request makes no sense, in words.
    #[error("{0}")]
    Usage(String),
    /// What was watched is over before its time.
    #[error("{0}")]
    Ended(String),
    /// The injector or the observer refused.
    #[error("{}", .0.error)]
    Injector(ErrorBody),
    /// The collector has not what was asked for.
    #[error("collector: {0}")]
    Collector(String),
    /// The controller refused, or a drill did not go on.
    #[error("controller: {0}")]
    Controller(String),
    /// A service refused.
    #[error("{unit}: {error}")]
    Service {
        /// The unit.
        unit: String,
        /// Its words.
        error: String,
    },
    /// Nobody listens on a socket or port.
    #[error("nobody listens on {place}: {hint}")]
    NotListening {
        /// The socket or port.
        place: String,
        /// What to do.
        hint: String,
    },
    /// The caller may not use a socket.
    #[error(
        "no permission for {0}: use sudo, or join the group observastack (usermod -aG observastack USER)"
    )]
    Forbidden(PathBuf),
    /// An answer could not be had or understood.
    #[error("{place}: {reason}")]
    Transport {
        /// The socket or port.
        place: String,
        /// What happened.
        reason: String,
    },
    /// Something on this machine could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The reason.
        source: io::Error,
    },
}

fn list(fields: &[FieldError]) -> String {
    fields
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Failure {
    /// Prints it to standard error, as JSON where that was asked for.
    pub(crate) fn print(&self, json: bool) {
        if json {
            eprintln!("{}", self.to_json());
            return;
        }
        for line in self.to_string().lines() {
            eprintln!("error: {line}");
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Injector(body) => json!(body),
            Self::Invalid(fields) => {
                json!({"error": self.to_string(), "code": "invalid", "fields": fields})
            }
            Self::Usage(_) => json!({"error": self.to_string(), "code": "bad-request"}),
            _ => json!({"error": self.to_string()}),
        }
    }

    /// 2 where the request was wrong, 1 otherwise.
    pub(crate) fn exit_code(&self) -> ExitCode {
        use observastack_spec::api::ErrorCode::{BadRequest, Invalid, UnknownUnit};
        match self {
            Self::Invalid(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Injector(body) if matches!(body.code, BadRequest | Invalid | UnknownUnit) => {
                ExitCode::from(2)
            }
            _ => ExitCode::FAILURE,
        }
    }
}
