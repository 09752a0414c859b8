//! Waiting for conditions.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds; an error that names `what` where it doesn't within `deadline`.
pub(crate) fn until(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let end = Instant::now() + deadline;
    while !condition()? {
        if Instant::now() > end {
            bail!("{what}: not within {} s", deadline.as_secs());
        }
        thread::sleep(POLL);
    }
    Ok(())
}
