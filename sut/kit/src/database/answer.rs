//! What a service's client is told when the database is the trouble.

use http::StatusCode;

use super::DatabaseError;
use crate::service::ServiceError;

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

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;
    use crate::http::HttpError;

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
            let response = HttpError::from(ServiceError::from(error)).into_response();
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
