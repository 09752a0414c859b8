//! Drills as their authors write them: pure types, reading, checking, planning.
//!
//! A scenario is two files. `scenario.yaml` is what a learner may know ([`Brief`]); `sealed.yaml` is what happens, what is wrong, and how that
//! is judged ([`Sealed`]). Both refuse fields that they do not know, and say where in the file something is wrong.
//!
//! - [`brief`], [`sealed`]: the two files; [`action`]: what a step does; [`check`]: what must hold; [`answer`]: what is wrong;
//! - [`at`]: values that remember their place; [`document`]: from text to values, with everything that is wrong at once;
//! - [`template`]: one to begin with; [`plan`]: what a seed makes of the steps. The same seed, the same plan;
//! - [`path`]: the order in which drills are learned.

pub mod action;
pub mod answer;
mod at;
pub mod brief;
pub mod check;
mod checks;
mod document;
pub mod path;
pub mod plan;
mod schema;
pub mod sealed;
pub mod template;

use std::fmt;

pub use at::At;
pub use brief::Brief;
pub use schema::{brief_schema, sealed_schema};
pub use sealed::Sealed;

use crate::file::FileError;

/// A drill.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What a learner may know.
    pub brief: Brief,
    /// What only the lab knows.
    pub sealed: Sealed,
}

/// One of a scenario's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `scenario.yaml`
    Brief,
    /// `sealed.yaml`
    Sealed,
}

impl Part {
    /// The file's name.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Brief => "scenario.yaml",
            Self::Sealed => "sealed.yaml",
        }
    }
}

/// Something wrong in one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// Which file.
    pub part: Part,
    /// Where, and what.
    pub error: FileError,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.part.file_name(), self.error)
    }
}

impl std::error::Error for ScenarioError {}

impl Scenario {
    /// Reads both files.
    ///
    /// # Errors
    /// Everything that is wrong. What a file's form does not allow is found before what its values mean, and ends the search in that file.
    pub fn read(brief: &str, sealed: &str) -> Result<Self, Vec<ScenarioError>> {
        let of = |part: Part| move |error: FileError| ScenarioError { part, error };
        let mut errors = Vec::new();
        let brief = read_brief(brief)
            .map_err(|wrong| errors.extend(wrong.into_iter().map(of(Part::Brief))))
            .ok();
        let sealed = document::parse::<Sealed>(sealed)
            .map_err(|wrong| errors.push(of(Part::Sealed)(wrong)))
            .ok();
        if let Some(sealed) = &sealed {
            let wrong = checks::sealed(sealed, brief.as_ref());
            errors.extend(wrong.into_iter().map(of(Part::Sealed)));
        }
        match (brief, sealed) {
            (Some(brief), Some(sealed)) if errors.is_empty() => Ok(Self { brief, sealed }),
            _ => Err(errors),
        }
    }
}

/// Reads the file that a learner may know.
///
/// # Errors
/// Everything that is wrong in it.
pub fn read_brief(text: &str) -> Result<Brief, Vec<FileError>> {
    let brief = document::parse::<Brief>(text).map_err(|error| vec![error])?;
    let errors = checks::brief(&brief);
    if errors.is_empty() {
        Ok(brief)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests;
