//! Amounts of money.

use std::fmt;

/// An amount in cents, shown with two digits after the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money(pub i64);

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(out, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_two_digits_after_the_point() {
        let all = [0, 5, 100, -250].map(|cents| Money(cents).to_string());
        assert_eq!(all, ["0.00", "0.05", "1.00", "-2.50"]);
    }
}
