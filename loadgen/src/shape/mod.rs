//! Shape files: a whole load as YAML, with the line and column of whatever is wrong in it.

mod compile;
mod form;
mod library;
mod scalar;

use std::fmt;

pub use compile::Shape;
pub use library::{Named, SHAPES, named};

/// A shape that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ShapeError {
    /// The line, from 1; 0 where it is the whole.
    pub line: u64,
    /// The column, from 1.
    pub column: u64,
    /// What is wrong there, and what would be right.
    pub reason: String,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            reason,
        } = self;
        if *line == 0 {
            write!(f, "{reason}")
        } else {
            write!(f, "line {line}, column {column}: {reason}")
        }
    }
}

/// Reads a shape.
///
/// # Errors
/// [`ShapeError`] for the first thing that is wrong.
pub fn parse(text: &str) -> Result<Shape, ShapeError> {
    if text.trim().is_empty() {
        return Err(ShapeError {
            line: 1,
            column: 1,
            reason: "the file is empty; it needs `journeys`, and `arrivals` or `users`".to_owned(),
        });
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
    };
    let form: form::Form = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let location = error.location();
        ShapeError {
            line: location.map_or(0, |at| at.line()),
            column: location.map_or(0, |at| at.column()),
            reason: without_position(&error.to_string()).to_owned(),
        }
    })?;
    compile::compile(form)
}

/// The parser says the position itself, at the end or at the beginning.
fn without_position(reason: &str) -> &str {
    let reason = match reason.rfind(" at line ") {
        Some(at) => reason.get(..at).unwrap_or(reason),
        None => reason,
    };
    reason.trim()
}
