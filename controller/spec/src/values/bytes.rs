//! An amount of data.

use std::{fmt, str::FromStr};

use crate::ValueError;

const ALLOWED: &str = "a number of bytes, such as 4096, 64KiB or 1MB";

/// Powers of 1024 first: these are what an amount is shown in.
const UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];

/// An amount of data in bytes, written as `4096`, `64KiB` or `1MB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// So many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bytes = scaled(text, UNITS).map(Self);
        bytes.ok_or_else(|| ValueError::new(text, ALLOWED))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary: Vec<_> = UNITS
            .iter()
            .filter(|(name, _)| name.ends_with("iB"))
            .copied()
            .collect();
        write_scaled(self.0, &binary, out)
    }
}

text_in_json!(Bytes);

/// Reads a decimal number with one of the units in any case; `None` where it is not a whole number of the smallest unit.
pub(super) fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text
        .find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (_, scale) = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()))?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    // 9 decimals reach every unit's smallest part that anybody writes.
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    let power = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts = u128::from(fraction.parse::<u64>().ok()?) * u128::from(*scale);
    if parts % power != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(parts / power).ok()?)
}

/// Writes a number in the largest of the units that leaves it whole, and without a unit where none does.
pub(super) fn write_scaled(
    number: u64,
    units: &[(&str, u64)],
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let fits = |scale: u64| number >= scale && number.is_multiple_of(scale);
    match units.iter().find(|(_, scale)| fits(*scale)) {
        Some((name, scale)) => write!(out, "{}{name}", number / scale),
        None => write!(out, "{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_shown_in_the_largest_whole_unit() {
        for (text, bytes, shown) in [
            ("4096", 4096, "4KiB"),
            ("64KiB", 65_536, "64KiB"),
            ("64 kib", 65_536, "64KiB"),
            ("1MB", 1_000_000, "1000000"),
            ("1.5GiB", 1_610_612_736, "1536MiB"),
            ("0", 0, "0"),
            ("17B", 17, "17"),
        ] {
            let read: Bytes = text.parse().unwrap();
            assert_eq!((read.get(), read.to_string().as_str()), (bytes, shown));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "KiB",
            "-1",
            "1.5",
            "1.",
            ".5KiB",
            "1XB",
            "1 2",
            "99999999TiB",
            "0x10",
        ] {
            assert!(
                text.parse::<Bytes>().unwrap_err().allowed.contains("64KiB"),
                "{text}"
            );
        }
    }
}
