//! What is wrong with one field of a request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value that is refused: which field, what it was, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The field's name as the API and the command line have it.
    pub field: String,
    /// The value that was given.
    pub value: String,
    /// What is allowed instead.
    pub allowed: String,
}

impl FieldError {
    /// Makes one from anything that prints.
    pub fn new(field: &str, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: value.to_string(),
            allowed: allowed.into(),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}: `{}` is not allowed; use {}",
            self.field, self.value, self.allowed
        )
    }
}

impl std::error::Error for FieldError {}
