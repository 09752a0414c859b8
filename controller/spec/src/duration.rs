//! Durations as users write them: `500ms`, `30s`, `2m`, `1h`, `1m 30s`.

use std::time::Duration;

use crate::FieldError;

/// The longest time that a fault may hold.
pub const MAX_FAULT: Duration = Duration::from_secs(3600);

/// The shortest time that a fault may hold: below it, the injector's own work would be most of it.
pub const MIN_FAULT: Duration = Duration::from_millis(100);

const ALLOWED: &str = "a time from 100ms to 1h, such as 30s or 2m";

/// Reads how long a fault is to hold, and checks its range.
pub fn parse_fault_duration(text: &str) -> Result<Duration, FieldError> {
    let duration =
        humantime::parse_duration(text).map_err(|_| FieldError::new("for", text, ALLOWED))?;
    check_fault_duration(duration)
}

/// Checks the range of how long a fault is to hold.
pub fn check_fault_duration(duration: Duration) -> Result<Duration, FieldError> {
    if (MIN_FAULT..=MAX_FAULT).contains(&duration) {
        Ok(duration)
    } else {
        Err(FieldError::new(
            "for",
            humantime::format_duration(duration),
            ALLOWED,
        ))
    }
}

/// A duration for people, to the millisecond.
pub fn display(duration: Duration) -> String {
    let whole_ms = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    humantime::format_duration(whole_ms).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_read() {
        assert_eq!(
            parse_fault_duration("2m").unwrap(),
            Duration::from_secs(120)
        );
        assert_eq!(
            parse_fault_duration("1m 30s").unwrap(),
            Duration::from_secs(90)
        );
        assert_eq!(parse_fault_duration("1h").unwrap(), MAX_FAULT);
        assert_eq!(parse_fault_duration("100ms").unwrap(), MIN_FAULT);
    }

    #[test]
    fn anything_else_names_the_field_and_the_range() {
        for text in ["", "5", "0s", "99ms", "61m", "2 days", "-3s", "soon"] {
            let error = parse_fault_duration(text).unwrap_err();
            assert_eq!(error.field, "for", "{text}");
            assert!(error.allowed.contains("100ms to 1h"), "{text}");
        }
    }
}
