//! How long to rest after a failure.

use std::time::Duration;

/// `first`, doubled so often, and not more than `longest`. Half of it depends on `chance`, from 0 to 1, so that what failed together does
/// not come again together.
#[must_use]
pub fn pause(first: Duration, doublings: u32, longest: Duration, chance: f64) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    let whole = first.saturating_mul(factor).min(longest);
    whole.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}
