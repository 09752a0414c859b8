//! Errors as clients and logs see them: where they come from, what they are, and the status that fits.

use pingora::{Error, ErrorSource, ErrorType};
use serde::Serialize;

use crate::metrics::Outcome;

/// No upstream passes its health checks.
pub const NO_HEALTHY_UPSTREAM: ErrorType = ErrorType::Custom("no healthy upstream");
/// `timeouts.total_ms` is over.
pub const OUT_OF_TIME: ErrorType = ErrorType::Custom("total timeout");
/// The request's body is larger than `limits.max_body_bytes`.
pub const BODY_TOO_LARGE: ErrorType = ErrorType::Custom("body too large");
/// The client stalled while it sent its request's body.
pub const SLOW_CLIENT: ErrorType = ErrorType::Custom("slow client");

/// The status logged, never sent, for a client that went away before its answer.
pub const CLIENT_GONE: u16 = 499;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An upstream, or the way to it.
    Upstream,
    /// The client, or the way to it.
    Downstream,
    /// The gateway: a limit, or a fault of its own.
    Gateway,
}

/// A request that the gateway answers itself because it cannot or will not be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status; 499 when there is nobody to send it to.
    pub status: u16,
    /// Whose fault it is.
    pub source: Source,
    /// A fixed word for programs.
    pub kind: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Seconds after which trying again may help.
    pub retry_after_s: Option<u64>,
}

impl Failure {
    /// A failure without a hint when to try again.
    pub fn new(
        status: u16,
        source: Source,
        kind: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            source,
            kind,
            message: message.into(),
            retry_after_s: None,
        }
    }

    /// Adds the hint.
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What a pingora error means. `upstream` is the name of the last upstream that was tried, or empty.
    pub fn of_error(error: &Error, upstream: &str) -> Self {
        use ErrorType as T;
        use Source::{Downstream, Gateway, Upstream};
        let kind = error.etype();
        match kind {
            _ if *kind == NO_HEALTHY_UPSTREAM => Self::new(
                503,
                Upstream,
                "no_healthy_upstream",
                "no upstream passes its health checks",
            )
            .retry_after_s(1),
            _ if *kind == OUT_OF_TIME => Self::new(
                504,
                Upstream,
                "total_timeout",
                format!("no answer within timeouts.total_ms (last upstream: {upstream})"),
            ),
            _ if *kind == BODY_TOO_LARGE => Self::new(
                413,
                Downstream,
                "body_too_large",
                "the request's body is larger than limits.max_body_bytes",
            ),
            _ if *kind == SLOW_CLIENT => Self::new(
                408,
                Downstream,
                "slow_request",
                "the request's body did not arrive in time",
            ),
            T::ConnectTimedout => Self::new(
                504,
                Upstream,
                "connect_timeout",
                format!("upstream {upstream}: no connection in time"),
            ),
            T::ReadTimedout | T::WriteTimedout if *error.esource() == ErrorSource::Upstream => {
                Self::new(
                    504,
                    Upstream,
                    "timeout",
                    format!("upstream {upstream}: no answer in time"),
                )
            }
            T::ConnectRefused => Self::new(
                502,
                Upstream,
                "connect_failure",
                format!("upstream {upstream}: connection refused"),
            ),
            T::ConnectNoRoute => Self::new(
                502,
                Upstream,
                "connect_failure",
                format!("upstream {upstream}: no route"),
            ),
            T::ConnectError | T::SocketError | T::BindError => Self::new(
                502,
                Upstream,
                "connect_failure",
                format!("upstream {upstream}: no connection"),
            ),
            T::HTTPStatus(status) if *error.esource() == ErrorSource::Upstream => Self::new(
                *status,
                Upstream,
                "status",
                format!("upstream {upstream} answered {status}"),
            ),
            _ => match error.esource() {
                ErrorSource::Upstream => Self::new(
                    502,
                    Upstream,
                    "broken_answer",
                    format!("upstream {upstream}: the connection broke or the answer is not HTTP"),
                ),
                ErrorSource::Downstream => match kind {
                    T::ReadTimedout => Self::new(
                        408,
                        Downstream,
                        "slow_request",
                        "the request's body did not arrive in time",
                    ),
                    T::ReadError | T::WriteError | T::WriteTimedout | T::ConnectionClosed => {
                        Self::new(
                            CLIENT_GONE,
                            Downstream,
                            "client_gone",
                            "the client closed the connection",
                        )
                    }
                    _ => Self::new(
                        400,
                        Downstream,
                        "bad_request",
                        "the request is not valid HTTP",
                    ),
                },
                ErrorSource::Internal | ErrorSource::Unset => {
                    Self::new(500, Gateway, "internal", "internal error of the gateway")
                }
            },
        }
    }

    /// How an attempt ended that failed like this.
    pub fn outcome(&self) -> Outcome {
        match (self.source, self.kind) {
            (Source::Upstream, "connect_failure" | "connect_timeout") => Outcome::connect_failure,
            (Source::Upstream, "timeout" | "total_timeout") => Outcome::timeout,
            (Source::Upstream, "status") => Outcome::of_status(self.status),
            (Source::Upstream, _) => Outcome::reset,
            (Source::Downstream, _) => Outcome::client_abort,
            (Source::Gateway, _) => Outcome::internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_from_the_source_and_the_kind() {
        use ErrorType as T;
        let cases = [
            (Error::new_up(T::ConnectRefused), 502, Source::Upstream),
            (Error::new_up(T::ConnectTimedout), 504, Source::Upstream),
            (Error::new_up(T::ReadTimedout), 504, Source::Upstream),
            (Error::new_up(T::ConnectionClosed), 502, Source::Upstream),
            (Error::new_up(T::InvalidHTTPHeader), 502, Source::Upstream),
            (Error::new_down(T::ReadTimedout), 408, Source::Downstream),
            (
                Error::new_down(T::InvalidHTTPHeader),
                400,
                Source::Downstream,
            ),
            (
                Error::new_down(T::ConnectionClosed),
                CLIENT_GONE,
                Source::Downstream,
            ),
            (Error::new_in(T::InternalError), 500, Source::Gateway),
            (Error::new(NO_HEALTHY_UPSTREAM), 503, Source::Upstream),
            (Error::new(OUT_OF_TIME), 504, Source::Upstream),
            (Error::new_down(BODY_TOO_LARGE), 413, Source::Downstream),
        ];
        for (error, status, source) in cases {
            let failure = Failure::of_error(&error, "127.0.0.1:1");
            assert_eq!(
                (failure.status, failure.source),
                (status, source),
                "{error}"
            );
        }
    }

    #[test]
    fn an_upstream_failure_names_the_upstream() {
        let failure =
            Failure::of_error(&Error::new_up(ErrorType::ConnectRefused), "127.0.0.1:8101");
        assert_eq!(
            failure.message,
            "upstream 127.0.0.1:8101: connection refused"
        );
        assert_eq!(failure.outcome(), Outcome::connect_failure);
    }
}
