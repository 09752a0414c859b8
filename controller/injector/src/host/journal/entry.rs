//! One fault in the journal.

use serde::{Deserialize, Serialize};

use crate::host::change::Change;

/// A fault whose changes hold, or are about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The fault.
    pub id: u64,
    /// The unit that it is aimed at.
    pub unit: String,
    /// The boot in which it was applied.
    pub boot_id: String,
    /// When it ends, in nanoseconds of that boot's `CLOCK_MONOTONIC`.
    pub end_monotonic_ns: u64,
    /// What is changed, in the order in which it is.
    pub changes: Vec<Change>,
    /// How far that has come.
    pub state: State,
}

/// How far an entry's changes have come. For people: what is reverted is the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Some may be made.
    Applying,
    /// All are made.
    Applied,
}
