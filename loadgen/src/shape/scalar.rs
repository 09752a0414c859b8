//! Values of a shape that are texts with a meaning of their own.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// The longest time that anything here takes.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A time, such as `250ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refused = || D::Error::custom(format!("`{text}` is no time, such as 250ms, 30s or 2m"));
        let time = humantime::parse_duration(&text).map_err(|_| refused())?;
        if time > LONGEST {
            return Err(D::Error::custom(format!("`{text}` is more than 7 days")));
        }
        Ok(Self(time))
    }
}

/// A share, such as `10%` or `0.1`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Percentage(pub(super) f64);

impl<'de> Deserialize<'de> for Percentage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Percentage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share, such as 10% or 0.1")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Percentage, E> {
                let (number, unit) = match text.strip_suffix('%') {
                    Some(number) => (number, 100.0),
                    None => (text, 1.0),
                };
                match number.trim().parse::<f64>() {
                    Ok(number) => self.visit_f64(number / unit),
                    Err(_) => Err(E::custom(format!(
                        "`{text}` is no share, such as 10% or 0.1"
                    ))),
                }
            }

            fn visit_f64<E: Error>(self, share: f64) -> Result<Percentage, E> {
                if (0.0..=1.0).contains(&share) {
                    Ok(Percentage(share))
                } else {
                    Err(E::custom("a share is between 0 and 1, or 0% and 100%"))
                }
            }

            fn visit_u64<E: Error>(self, share: u64) -> Result<Percentage, E> {
                self.visit_f64(share as f64)
            }

            fn visit_i64<E: Error>(self, share: i64) -> Result<Percentage, E> {
                self.visit_f64(share as f64)
            }
        }
        deserializer.deserialize_any(Read)
    }
}
