//! Moments of the kernel's clock in the clock of people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use observastack_loader::clock::monotonic_ns;

/// Now, since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A moment of `CLOCK_MONOTONIC`, since 1970.
pub(crate) fn since_1970(at_ns: u64) -> Duration {
    now().saturating_sub(Duration::from_nanos(monotonic_ns().saturating_sub(at_ns)))
}

/// In whole milliseconds.
pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// In whole microseconds.
pub(crate) fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// In nanoseconds.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_the_clock_of_people() {
        let ago = ms(since_1970(monotonic_ns() - 5_000_000_000));
        let expected = ms(now()) - 5000;
        assert!(ago.abs_diff(expected) < 100, "{ago} and {expected}");
    }
}
