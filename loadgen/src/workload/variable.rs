//! Values that a journey begins with.

use super::Chance;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// One of these; never empty.
    Pick(Vec<String>),
    /// A whole number between two, both included.
    Between {
        /// The lowest.
        low: u64,
        /// The highest.
        high: u64,
        /// What is before it.
        prefix: String,
        /// Digits, filled up with zeros.
        digits: usize,
        /// How much likelier low numbers are: 1 is not at all, 2 has a quarter of all in the lowest sixteenth.
        skew: f64,
    },
    /// The journey's number, from 0.
    Number,
    /// A random UUID (version 4).
    Uuid,
}

impl Generator {
    /// The value of the n-th journey.
    #[must_use]
    pub fn value(&self, arrival: u64, chance: &mut Chance) -> String {
        match self {
            Self::Pick(values) => {
                let place = chance.below(values.len().max(1) as u64);
                usize::try_from(place)
                    .ok()
                    .and_then(|place| values.get(place))
                    .cloned()
                    .unwrap_or_default()
            }
            Self::Between {
                low,
                high,
                prefix,
                digits,
                skew,
            } => {
                let count = (high - low).saturating_add(1);
                let place = (chance.share().powf(*skew) * count as f64) as u64;
                let number = low + place.min(count - 1);
                format!("{prefix}{number:0digits$}")
            }
            Self::Number => arrival.to_string(),
            Self::Uuid => {
                let (high, low) = (chance.number(), chance.number());
                format!(
                    "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
                    high >> 32,
                    high >> 16 & 0xffff,
                    high & 0xfff,
                    0x8000 | low >> 48 & 0x3fff,
                    low & 0xffff_ffff_ffff
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_are_said_to_be() {
        let mut chance = Chance::new(1);
        let sku = Generator::Between {
            low: 1,
            high: 3,
            prefix: "P".to_owned(),
            digits: 5,
            skew: 1.0,
        };
        let mut seen: Vec<_> = (0..100).map(|n| sku.value(n, &mut chance)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["P00001", "P00002", "P00003"]);
        assert_eq!(Generator::Number.value(17, &mut chance), "17");
        let uuid = Generator::Uuid.value(0, &mut chance);
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
        let one = Generator::Pick(vec!["x".to_owned()]);
        assert_eq!(one.value(0, &mut chance), "x");
    }

    #[test]
    fn a_skew_makes_low_numbers_likelier() {
        let hot = Generator::Between {
            low: 1,
            high: 16,
            prefix: String::new(),
            digits: 0,
            skew: 2.0,
        };
        let mut chance = Chance::new(1);
        let lowest = (0..10_000)
            .filter(|n| hot.value(*n, &mut chance) == "1")
            .count();
        assert!((2_300..2_700).contains(&lowest), "{lowest}");
    }
}
