//! JSON Schemas of the two files, for editors that complete and check.

use schemars::Schema;

use super::{Brief, Sealed};

/// Of `scenario.yaml`.
#[must_use]
pub fn brief_schema() -> Schema {
    schemars::schema_for!(Brief)
}

/// Of `sealed.yaml`.
#[must_use]
pub fn sealed_schema() -> Schema {
    schemars::schema_for!(Sealed)
}
