//! What is wrong with one value, and with one field of a request.

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

/// A text that is no value of its kind; who knows the field's name makes a [`FieldError`] of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// The text that was given.
    pub value: String,
    /// What is allowed instead.
    pub allowed: String,
}

impl ValueError {
    pub(crate) fn new(value: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            allowed: allowed.into(),
        }
    }

    /// The same, with the name of the field that the text was given for.
    pub fn of_field(self, field: &str) -> FieldError {
        FieldError {
            field: field.to_owned(),
            value: self.value,
            allowed: self.allowed,
        }
    }
}

/// Without the value: the command line has shown it already, before these words.
impl fmt::Display for ValueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "use {}", self.allowed)
    }
}

impl std::error::Error for ValueError {}

impl From<FieldError> for ValueError {
    fn from(error: FieldError) -> Self {
        Self::new(error.value, error.allowed)
    }
}
