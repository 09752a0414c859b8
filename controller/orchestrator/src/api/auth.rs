//! Who may ask for what: a token for each role, from a file of the host's.

use std::{fs, io, path::Path};

use axum::{
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::Response,
};
use serde::Deserialize;

use super::{Context, ROUTES, failure::Failure, routes::Method};
use crate::runner::Reader;

/// Who asks. The later may do what the earlier may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Takes drills.
    Learner,
    /// Ends other people's.
    Instructor,
    /// Everything.
    Admin,
}

impl Role {
    /// How much may be told.
    pub(super) fn reader(self) -> Reader {
        match self {
            Self::Learner => Reader::Learner,
            Self::Instructor | Self::Admin => Reader::Teacher,
        }
    }
}

/// The shortest token.
const SHORTEST: usize = 24;

/// The tokens do not do.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error(
        "{path}: {reason}; right would be {{\"learner\": \"...\", \"instructor\": \"...\", \"admin\": \"...\"}}, each of {SHORTEST} characters or more, all different"
    )]
    Form {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
}

/// A token for each role.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    learner: String,
    instructor: String,
    admin: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Reads them.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it should be.
    pub fn read(path: &Path) -> Result<Self, TokensError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| TokensError::File {
            path: name.clone(),
            source,
        })?;
        Self::of(&text).map_err(|reason| TokensError::Form { path: name, reason })
    }

    /// Of a text.
    fn of(text: &str) -> Result<Self, String> {
        let tokens: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let all = [&tokens.learner, &tokens.instructor, &tokens.admin];
        if all.iter().any(|token| token.len() < SHORTEST) {
            return Err("a token is too short".to_owned());
        }
        if all[0] == all[1] || all[1] == all[2] || all[0] == all[2] {
            return Err("two roles have the same token".to_owned());
        }
        Ok(tokens)
    }

    /// Whose token it is.
    #[must_use]
    pub fn role(&self, token: &str) -> Option<Role> {
        // All three are looked at, so that the time tells nothing.
        let known = [
            (Role::Learner, same(&self.learner, token)),
            (Role::Instructor, same(&self.instructor, token)),
            (Role::Admin, same(&self.admin, token)),
        ];
        known
            .into_iter()
            .filter_map(|(role, is)| is.then_some(role))
            .max()
    }
}

/// Compares in a time that depends on the lengths only.
fn same(one: &str, other: &str) -> bool {
    let differing = one
        .bytes()
        .zip(other.bytes())
        .fold(0, |differing, (a, b)| differing | (a ^ b));
    one.len() == other.len() && differing == 0
}

/// Lets through what the route's role may.
pub(super) async fn check(
    State(context): State<Context>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    // No path has parameters, so it is the route's as it is.
    let path = request.uri().path().to_owned();
    let is_post = request.method() == axum::http::Method::POST;
    let route = ROUTES
        .iter()
        .find(|route| route.path == path && (route.method == Method::Post) == is_post);
    // What is not in the table has nothing to give.
    if let Some(needed) = route.and_then(|route| route.role) {
        let header = request.headers().get(AUTHORIZATION);
        let token = header
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        match token.and_then(|token| context.tokens.role(token)) {
            None => return Err(Failure::no_token()),
            Some(role) if role < needed => return Err(Failure::not_allowed(needed)),
            Some(role) => drop(request.extensions_mut().insert(role)),
        }
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"learner": "learner-0123456789abcdef", "instructor": "instructor-0123456789abcdef", "admin": "admin-0123456789abcdefgh"}"#;

    #[test]
    fn a_token_is_its_roles_and_nobody_elses() {
        let tokens = Tokens::of(TEXT).unwrap();
        for (token, role) in [
            ("learner-0123456789abcdef", Some(Role::Learner)),
            ("instructor-0123456789abcdef", Some(Role::Instructor)),
            ("admin-0123456789abcdefgh", Some(Role::Admin)),
            ("learner-0123456789abcdeg", None),
            ("learner-0123456789abcde", None),
            ("", None),
        ] {
            assert_eq!(tokens.role(token), role, "{token}");
        }
        assert!(!format!("{tokens:?}").contains("0123"));
    }

    #[test]
    fn tokens_that_are_none_are_refused_in_words() {
        for (text, reason) in [
            (
                TEXT.replace("learner-0123456789abcdef", "short"),
                "too short",
            ),
            (
                TEXT.replace("admin-0123456789abcdefgh", "learner-0123456789abcdef"),
                "the same token",
            ),
            (TEXT.replace("admin\"", "root\""), "unknown field"),
            ("[]".to_owned(), "expected struct Tokens"),
        ] {
            assert!(Tokens::of(&text).unwrap_err().contains(reason), "{text}");
        }
        let missing = Tokens::read(Path::new("/nonexistent/tokens.json")).unwrap_err();
        assert!(missing.to_string().contains("tokens.json"), "{missing}");
    }
}
