//! A span of time as people write it.

use std::{fmt, str::FromStr, time::Duration};

use crate::ValueError;

const ALLOWED: &str = "a time with its unit, such as 150ms, 2s or 1m 30s";

/// The longest time that is read: a year, beyond everything that a fault can use.
const LONGEST: Duration = Duration::from_secs(31_557_600);

/// A span of time, written as `150ms`, `2s` or `1m 30s`; at most a year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// The time.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// A number of milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// Whether it is a number of whole seconds.
    pub fn is_whole_seconds(self) -> bool {
        self.0.subsec_nanos() == 0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for HumanDuration {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(Self(duration)),
            _ => Err(ValueError::new(text, ALLOWED)),
        }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", humantime::format_duration(self.0))
    }
}

text_in_json!(HumanDuration);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_spellings_are_read() {
        for (text, milliseconds) in [("150ms", 150), ("2s", 2000), ("1m 30s", 90_000), ("0s", 0)] {
            let read: HumanDuration = text.parse().unwrap();
            assert_eq!(read, HumanDuration::from_millis(milliseconds));
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_examples() {
        for text in ["", "5", "-3s", "soon", "2 years", "99999999999999999999s"] {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.allowed.contains("150ms"), "{text}");
        }
    }
}
