//! Losses that come in bursts: the Gilbert-Elliott model.

use std::{fmt, str::FromStr};

use crate::{ValueError, probability};

/// The slowest chain: below it, a chain goes on for too long to be seen at work in the hour that a fault can hold.
const SLOWEST: f64 = 0.05;

/// A chain of two states, good and bad, that takes a step at each packet; in the bad state packets are lost.
///
/// The mean burst is `1 / leave` packets, the mean loss `enter / (enter + leave)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// The probability of getting from the good state into the bad one.
    pub enter: f64,
    /// The probability of getting out of the bad state.
    pub leave: f64,
}

impl Burst {
    pub(crate) const ALLOWED: &str = "two probabilities ENTER,LEAVE above 0 that add up to 5% to 100%, such as 1%,25%: the mean burst is 1/LEAVE packets, the loss ENTER/(ENTER+LEAVE)";

    /// The share of packets that is lost in the long run.
    pub fn mean_loss(self) -> f64 {
        self.enter / (self.enter + self.leave)
    }

    /// The mean number of packets that are lost in a row.
    pub fn mean_length(self) -> f64 {
        1.0 / self.leave
    }

    /// Whether both are probabilities above 0, and their sum lies between 5% and 100%.
    pub fn is_possible(self) -> bool {
        let within = |share: f64| share > 0.0 && share <= 1.0;
        // The sum of two decimals may come out a bit above 1.
        let sum = self.enter + self.leave;
        within(self.enter)
            && within(self.leave)
            && (SLOWEST - f64::EPSILON..=1.0 + f64::EPSILON).contains(&sum)
    }
}

impl FromStr for Burst {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let refused = || ValueError::new(text, Self::ALLOWED);
        let (enter, leave) = text.split_once(',').ok_or_else(refused)?;
        let read = |part: &str| probability::parse(part.trim()).map_err(|_| refused());
        let burst = Self {
            enter: read(enter)?,
            leave: read(leave)?,
        };
        burst.is_possible().then_some(burst).ok_or_else(refused)
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (enter, leave) = (
            probability::exact(self.enter),
            probability::exact(self.leave),
        );
        write!(out, "{enter},{leave}")
    }
}

text_in_json!(Burst);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_two_probabilities() {
        let burst: Burst = "1%,25%".parse().unwrap();
        assert_eq!((burst.enter, burst.leave), (0.01, 0.25));
        assert_eq!(burst.mean_length(), 4.0);
        assert!((burst.mean_loss() - 1.0 / 26.0).abs() < 1e-12);
        assert_eq!(burst.to_string(), "1%,25%");
        assert_eq!("0.5, 0.5".parse::<Burst>().unwrap().enter, 0.5);
        assert!("0.7,0.3".parse::<Burst>().is_ok());
    }

    #[test]
    fn chains_that_cannot_be_or_hardly_move_are_refused() {
        for text in [
            "1%", "", ",", "0,25%", "1%,0", "60%,60%", "1%,3%", "101%,1%", "a,b", "1%,2%,3%",
        ] {
            assert!(
                text.parse::<Burst>()
                    .unwrap_err()
                    .allowed
                    .contains("1%,25%"),
                "{text}"
            );
        }
    }
}
