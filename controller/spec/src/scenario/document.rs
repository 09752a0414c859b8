//! From a file's text to its values.

use serde::de::DeserializeOwned;

use crate::file::{FileError, MAX_FILE};

/// Reads one file.
///
/// # Errors
/// The first thing that its form does not allow, and where.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, FileError> {
    let start = |reason: String| FileError {
        line: 1,
        column: 1,
        reason,
    };
    if text.len() > MAX_FILE {
        let reason = format!("the file is larger than {} KiB", MAX_FILE / 1024);
        return Err(start(reason));
    }
    if text.trim().is_empty() {
        return Err(start("the file is empty".to_owned()));
    }
    let options = serde_saphyr::options! {
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place = error.location();
        let number = |at: Option<u64>| at.map_or(1, |at| usize::try_from(at).unwrap_or(1).max(1));
        FileError {
            line: number(place.map(|at| at.line())),
            column: number(place.map(|at| at.column())),
            reason: in_words(without_place(&error.to_string())),
        }
    })
}

/// The parser names the program's types.
fn in_words(reason: &str) -> String {
    match reason {
        "invalid u16" | "invalid u32" | "invalid u64" => {
            "not a whole number; use digits, such as 30".to_owned()
        }
        "invalid f64" => "not a number; use digits, such as 0.99".to_owned(),
        "invalid bool" | "invalid boolean" => "neither true nor false; use one of these".to_owned(),
        other => other.to_owned(),
    }
}

/// The parser says the place itself, at the end.
fn without_place(reason: &str) -> &str {
    let reason = reason
        .rfind(" at line ")
        .and_then(|at| reason.get(..at))
        .unwrap_or(reason);
    reason.trim()
}
