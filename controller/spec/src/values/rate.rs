//! A rate of data, as tc(8) writes it.

use std::{fmt, str::FromStr};

use crate::ValueError;

const ALLOWED: &str = "a rate from 8kbit to 100gbit a second, such as 500kbit or 1.5mbit";

const UNITS: &[(&str, u64)] = &[
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

/// Bits per second, from 8kbit to 100gbit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

impl Rate {
    /// The lowest rate: a full packet takes 1.5 s.
    pub const MIN: Self = Self(8_000);
    /// The highest rate.
    pub const MAX: Self = Self(100_000_000_000);

    /// Bits per second.
    pub fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let rate = super::bytes::scaled(text, UNITS).map(Self);
        rate.filter(|rate| (Self::MIN..=Self::MAX).contains(rate))
            .ok_or_else(|| ValueError::new(text, ALLOWED))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::bytes::write_scaled(self.0, UNITS, out)
    }
}

text_in_json!(Rate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_shown_in_the_largest_whole_unit() {
        for (text, bits, shown) in [
            ("8kbit", 8_000, "8kbit"),
            ("1.5mbit", 1_500_000, "1500kbit"),
            ("100gbit", 100_000_000_000, "100gbit"),
            ("8001bit", 8_001, "8001bit"),
            ("1MBIT", 1_000_000, "1mbit"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(
                (rate.bits_per_second(), rate.to_string().as_str()),
                (bits, shown)
            );
        }
    }

    #[test]
    fn what_lies_outside_or_has_another_unit_is_refused() {
        for text in [
            "7kbit",
            "101gbit",
            "10mbps",
            "1",
            "",
            "mbit",
            "-1mbit",
            "1.0000001kbit",
            "1e3kbit",
        ] {
            assert!(
                text.parse::<Rate>().unwrap_err().allowed.contains("8kbit"),
                "{text}"
            );
        }
    }
}
