//! Whether a failed attempt is tried again.

use pingora::{ErrorType, http::RequestHeader, proxy::Session};

use crate::{
    clock,
    config::{RetryConfig, RetryOn},
    context::RequestContext,
    metrics::GatewayMetrics,
    retry_budget::RetryBudget,
};

/// Where a request stands when an attempt has failed.
#[derive(Debug, Clone, Copy)]
struct Standing {
    attempts: usize,
    idempotent: bool,
    /// Its body, if any, can be sent again: pingora kept all of it.
    replayable: bool,
    /// Nothing of an answer has gone to the client.
    unanswered: bool,
    /// `timeouts.total_ms` is not over.
    in_time: bool,
}

/// True if `cause` may be tried again as far as the rules go; the budget comes after.
fn allowed(config: &RetryConfig, cause: RetryOn, standing: Standing) -> bool {
    let safe = cause == RetryOn::ConnectFailure || (standing.idempotent && standing.replayable);
    config.on.contains(&cause)
        && standing.attempts < config.max_attempts
        && safe
        && standing.unanswered
        && standing.in_time
}

/// Decides on a retry after `cause`, takes it out of the budget and counts it.
pub fn decide(
    cause: RetryOn,
    session: &Session,
    ctx: &RequestContext,
    budget: &RetryBudget,
    metrics: &GatewayMetrics,
) -> bool {
    let config = &ctx.config.config.retries;
    let standing = Standing {
        attempts: ctx.attempts,
        idempotent: is_idempotent(session.req_header()),
        replayable: !session.as_ref().retry_buffer_truncated(),
        unanswered: session
            .response_written()
            .is_none_or(|head| head.status.is_informational()),
        in_time: !ctx.remaining().is_zero(),
    };
    if !allowed(config, cause, standing) {
        return false;
    }
    if !budget.try_withdraw(&config.budget, clock::now_ms()) {
        metrics.budget_exhausted(cause);
        return false;
    }
    metrics.retried(cause);
    true
}

/// What to call the failure of an established connection.
pub fn cause_of(kind: &ErrorType) -> RetryOn {
    match kind {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => RetryOn::Timeout,
        ErrorType::HTTPStatus(_) => RetryOn::Status,
        _ => RetryOn::Reset,
    }
}

fn is_idempotent(head: &RequestHeader) -> bool {
    head.method.is_idempotent()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Standing = Standing {
        attempts: 1,
        idempotent: true,
        replayable: true,
        unanswered: true,
        in_time: true,
    };

    fn config() -> RetryConfig {
        RetryConfig {
            max_attempts: 2,
            on: vec![RetryOn::ConnectFailure, RetryOn::Reset, RetryOn::Timeout],
            ..RetryConfig::default()
        }
    }

    #[test]
    fn only_configured_causes_are_tried_again() {
        assert!(allowed(&config(), RetryOn::Timeout, FIRST));
        assert!(!allowed(&config(), RetryOn::Status, FIRST));
    }

    #[test]
    fn what_may_have_been_acted_on_is_tried_again_only_if_that_is_harmless() {
        let post = Standing {
            idempotent: false,
            ..FIRST
        };
        assert!(!allowed(&config(), RetryOn::Reset, post));
        assert!(!allowed(&config(), RetryOn::Timeout, post));
        assert!(
            allowed(&config(), RetryOn::ConnectFailure, post),
            "nothing was sent yet"
        );
        let long_put = Standing {
            replayable: false,
            ..FIRST
        };
        assert!(!allowed(&config(), RetryOn::Reset, long_put));
    }

    #[test]
    fn attempts_time_and_a_begun_answer_end_it() {
        for standing in [
            Standing {
                attempts: 2,
                ..FIRST
            },
            Standing {
                unanswered: false,
                ..FIRST
            },
            Standing {
                in_time: false,
                ..FIRST
            },
        ] {
            assert!(
                !allowed(&config(), RetryOn::ConnectFailure, standing),
                "{standing:?}"
            );
        }
    }
}
