//! What units have logged since a moment.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{command, wait};

/// A place in the journal: what is looked for comes after it.
#[derive(Clone, Debug)]
pub(crate) struct Mark(String);

/// The journal's end now.
pub(crate) fn mark() -> Result<Mark> {
    let text = command::output(&["journalctl", "--quiet", "--lines=0", "--show-cursor"])?;
    let cursor = text.trim().strip_prefix("-- cursor: ");
    Ok(Mark(cursor.context("the journal has no end")?.to_owned()))
}

impl Mark {
    /// Every record of a unit since then.
    pub(crate) fn records(&self, unit: &str) -> Result<Vec<Value>> {
        let text = command::output(&[
            "journalctl",
            "--quiet",
            "--all",
            "--output=json",
            "--after-cursor",
            &self.0,
            "--unit",
            unit,
        ])?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
            .collect()
    }

    /// Waits for a record of a unit that `wanted` accepts.
    pub(crate) fn wait_for(
        &self,
        unit: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        wait::until(wait::SOON, &format!("{unit} logs {what}"), || {
            Ok(self.records(unit)?.into_iter().find(&wanted))
        })
    }
}

/// A record's message.
pub(crate) fn message(record: &Value) -> &str {
    record["MESSAGE"].as_str().unwrap_or_default()
}

/// Every field of a record that is text, in one string: for words that may stand in any field.
pub(crate) fn all_text(record: &Value) -> String {
    let fields = record.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !name.starts_with('_'))
        .filter_map(|(name, value)| Some(format!("{name}={}\n", value.as_str()?)))
        .collect()
}
