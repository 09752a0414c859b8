//! Whole percents.

use std::{fmt, str::FromStr};

use crate::ValueError;

const ALLOWED: &str = "whole percents with their sign, such as 20% or 150%";

/// The highest share that is read: a hundred CPUs.
const HIGHEST: u32 = 10_000;

/// A share in whole percents, 0% to 10000%; what it is a share of, and its range, are the field's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// So many percents.
    pub const fn new(percents: u32) -> Self {
        Self(percents)
    }

    /// The number of percents.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let digits = text.strip_suffix('%').map(str::trim_end);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits
            .and_then(|digits| digits.parse().ok())
            .filter(|percents| *percents <= HIGHEST)
            .map(Self)
            .ok_or_else(|| ValueError::new(text, ALLOWED))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}%", self.0)
    }
}

text_in_json!(Percent);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_is_needed_because_a_bare_number_could_be_a_fraction() {
        assert_eq!("150%".parse::<Percent>().unwrap().get(), 150);
        for text in [
            "20",
            "0.2",
            "%",
            "-1%",
            "+1%",
            "0.5%",
            "10001%",
            "",
            "99999999999%",
        ] {
            assert!(
                text.parse::<Percent>()
                    .unwrap_err()
                    .allowed
                    .contains("150%"),
                "{text}"
            );
        }
    }
}
