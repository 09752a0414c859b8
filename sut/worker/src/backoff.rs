//! How long a confirmation rests after a failure.

use std::time::Duration;

use observastack_kit::backoff;

/// However often it failed.
const LONGEST: Duration = Duration::from_secs(300);

/// The pause after the `attempts`th attempt: `first`, doubled with each attempt after the first, 5 min at most; see [`backoff::pause`].
#[must_use]
pub fn pause(first: Duration, attempts: i32, chance: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0);
    backoff::pause(first, doublings, LONGEST, chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_up_to_five_minutes() {
        let first = Duration::from_millis(500);
        let whole = |attempts| pause(first, attempts, 1.0);
        assert_eq!(whole(1), first);
        assert_eq!(whole(2), Duration::from_secs(1));
        assert_eq!(whole(5), Duration::from_secs(8));
        assert_eq!(whole(11), LONGEST);
        assert_eq!(whole(i32::MAX), LONGEST);
        assert_eq!(whole(0), first, "nothing less than the first");
    }

    #[test]
    fn half_of_it_is_chance() {
        let first = Duration::from_millis(500);
        assert_eq!(pause(first, 1, 0.0), Duration::from_millis(250));
        assert_eq!(pause(first, 1, 0.5), Duration::from_millis(375));
        assert_eq!(pause(first, 1, 7.0), first);
    }
}
