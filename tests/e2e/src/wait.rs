//! Waiting for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// How long to wait for something that takes a moment. Only a failing test waits this long.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Waits until `condition` gives a value; an error that names `what` where it doesn't within `deadline`.
///
/// An error of the condition counts as "not yet", and the last one is shown when the time is up.
pub(crate) fn until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        let outcome = condition();
        if let Ok(Some(value)) = outcome {
            return Ok(value);
        }
        if Instant::now() >= end {
            let why = format!("{what}: not within {} s", deadline.as_secs());
            return match outcome {
                Err(error) => Err(error).context(why),
                Ok(_) => bail!(why),
            };
        }
        thread::sleep(POLL);
    }
}

/// As [`until`], for a condition that is true or not.
pub(crate) fn until_true(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    until(deadline, what, || Ok(condition()?.then_some(())))
}
