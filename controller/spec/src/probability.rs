//! Probabilities as users write them: `20%`, `0.5%`, `0.2`.

use crate::FieldError;

const ALLOWED: &str = "a probability from 0% to 100%, such as 20% or 0.2";

/// Reads a probability; the result lies between 0 and 1.
pub fn parse(text: &str) -> Result<f64, FieldError> {
    let refused = || FieldError::new("probability", text, ALLOWED);
    let (digits, scale) = match text.strip_suffix('%') {
        Some(digits) => (digits, 100.0),
        None => (text, 1.0),
    };
    let value: f64 = digits.trim().parse().map_err(|_| refused())?;
    check(value / scale).map_err(|_| refused())
}

/// Checks that a probability lies between 0 and 1.
pub fn check(probability: f64) -> Result<f64, FieldError> {
    if (0.0..=1.0).contains(&probability) {
        Ok(probability)
    } else {
        Err(FieldError::new("probability", probability, ALLOWED))
    }
}

/// A probability for people, in percent.
pub fn display(probability: f64) -> String {
    format!("{}%", (probability * 1e8).round() / 1e6)
}

/// A probability that [`parse`] reads back to the last bit: in percent where that is exact, else as a fraction.
pub fn exact(probability: f64) -> String {
    let percent = display(probability);
    if parse(&percent) == Ok(probability) {
        percent
    } else {
        probability.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percent_and_fraction_are_read() {
        assert_eq!(parse("20%").unwrap(), 0.2);
        assert_eq!(parse("0.2").unwrap(), 0.2);
        assert_eq!(parse("100%").unwrap(), 1.0);
        assert_eq!(parse("0").unwrap(), 0.0);
        assert_eq!(display(0.2), "20%");
        assert_eq!(display(0.005), "0.5%");
        assert_eq!(exact(0.2), "20%");
        assert_eq!(parse(&exact(1.0 / 3.0)).unwrap(), 1.0 / 3.0);
    }

    #[test]
    fn what_lies_outside_names_the_range() {
        for text in ["-1%", "101%", "1.01", "20", "NaN", "inf", "", "%", "half"] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.field.as_str(), error.value.as_str()),
                ("probability", text)
            );
            assert!(error.allowed.contains("0% to 100%"));
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_lies_in_range(text in ".{0,12}") {
            if let Ok(p) = parse(&text) {
                prop_assert!((0.0..=1.0).contains(&p));
            }
        }
    }
}
