//! A query string's parameters: known, typed, and each error with what would be right.

use std::time::Duration;

use crate::store::{now_ns, read::Range};

/// A parameter that is not right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// There is no such parameter here.
    #[error("there is no parameter {name:?}; allowed: {allowed}")]
    Unknown {
        /// Its name.
        name: String,
        /// Those that are.
        allowed: String,
    },
    /// It must be there.
    #[error("the parameter {name:?} is missing: {expected}")]
    Missing {
        /// Its name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Its value is not right.
    #[error("{name}={value:?} is not right; expected: {expected}")]
    Value {
        /// Its name.
        name: String,
        /// What was given.
        value: String,
        /// What it should be.
        expected: String,
    },
}

/// The parameters of one request.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

const TIMES: &str =
    "microseconds since the epoch, RFC 3339 (2026-01-31T12:00:00Z), or how long ago (15m)";

impl Params {
    /// Parses a query string.
    ///
    /// # Errors
    /// [`ParamError::Unknown`].
    pub fn parse(query: &str, allowed: &[&str]) -> Result<Self, ParamError> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        match pairs
            .iter()
            .find(|(name, _)| !allowed.contains(&name.as_str()))
        {
            Some((name, _)) => Err(ParamError::Unknown {
                name: name.clone(),
                allowed: if allowed.is_empty() {
                    "none".to_owned()
                } else {
                    allowed.join(", ")
                },
            }),
            None => Ok(Self(pairs)),
        }
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = move |(found, _): &&(String, String)| found == name;
        self.0
            .iter()
            .filter(of_name)
            .map(|(_, value)| value.as_str())
    }

    /// A text; an empty one is none.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let found = self.0.iter().rev().find(|(found, _)| found == name)?;
        Some(found.1.clone()).filter(|value| !value.is_empty())
    }

    fn value<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ParamError> {
        let Some(value) = self.text(name) else {
            return Ok(None);
        };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(ParamError::Value {
                name: name.to_owned(),
                value,
                expected: expected.to_owned(),
            }),
        }
    }

    /// How many, from 1.
    ///
    /// # Errors
    /// [`ParamError::Value`].
    pub fn limit(&self, usual: usize, most: usize) -> Result<usize, ParamError> {
        let expected = format!("a number from 1 to {most}");
        let found = self.value("limit", &expected, |value| {
            value
                .parse()
                .ok()
                .filter(|limit| (1..=most).contains(limit))
        })?;
        Ok(found.unwrap_or(usual))
    }

    /// A duration, in nanoseconds.
    ///
    /// # Errors
    /// [`ParamError::Value`].
    pub fn duration_ns(&self, name: &str) -> Result<Option<i64>, ParamError> {
        self.value(name, "a duration such as 150ms or 2s", |value| {
            i64::try_from(humantime::parse_duration(value).ok()?.as_nanos()).ok()
        })
    }

    /// `from` and `to`: by default up to now.
    ///
    /// # Errors
    /// [`ParamError::Value`].
    pub fn range(&self, usual: Duration) -> Result<Range, ParamError> {
        let now_ns = now_ns();
        // What comes while the question is asked is not left out.
        let to_ns = self
            .value("to", TIMES, |value| time_ns(value, now_ns))?
            .unwrap_or(now_ns.saturating_add(1_000_000_000));
        let usual_ns = i64::try_from(usual.as_nanos()).unwrap_or(i64::MAX);
        let from_ns = self
            .value("from", TIMES, |value| time_ns(value, now_ns))?
            .unwrap_or(to_ns.saturating_sub(usual_ns).max(0));
        if from_ns > to_ns {
            return Err(ParamError::Value {
                name: "from".to_owned(),
                value: self.text("from").unwrap_or_default(),
                expected: "a time before `to`".to_owned(),
            });
        }
        Ok(Range { from_ns, to_ns })
    }

    /// One of several words.
    ///
    /// # Errors
    /// [`ParamError::Value`].
    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, ParamError> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.value(name, &names.join(", "), |value| {
            let found = words.iter().find(|(word, _)| *word == value)?;
            Some(found.1)
        })
    }

    /// A trace's id.
    ///
    /// # Errors
    /// [`ParamError::Value`].
    pub fn trace_id(&self, name: &str) -> Result<Option<[u8; 16]>, ParamError> {
        self.value(name, "32 hexadecimal digits", parse_trace_id)
    }

    /// `attribute=KEY=VALUE`, as often as it is there.
    ///
    /// # Errors
    /// [`ParamError::Value`].
    pub fn attributes(&self) -> Result<Vec<(String, String)>, ParamError> {
        let parse = |value: &str| {
            let (key, wanted) = value.split_once('=')?;
            // The key becomes part of a JSON path, in quotes.
            let is_key = !key.is_empty() && !key.contains(['"', '\\']);
            is_key.then(|| (key.to_owned(), wanted.to_owned()))
        };
        self.all("attribute")
            .map(|value| {
                parse(value).ok_or_else(|| ParamError::Value {
                    name: "attribute".to_owned(),
                    value: value.to_owned(),
                    expected: "KEY=VALUE, such as http.response.status_code=500".to_owned(),
                })
            })
            .collect()
    }
}

/// 32 hexadecimal digits.
pub(super) fn parse_trace_id(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u128::from_str_radix(text, 16).ok())??;
    Some(number.to_be_bytes())
}

fn time_ns(text: &str, now_ns: i64) -> Option<i64> {
    if let Ok(time_us) = text.parse::<i64>() {
        return (time_us >= 0).then(|| time_us.saturating_mul(1_000));
    }
    if let Ok(ago) = humantime::parse_duration(text) {
        return i64::try_from(ago.as_nanos())
            .ok()
            .map(|ago_ns| now_ns.saturating_sub(ago_ns).max(0));
    }
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::parse(
            query,
            &["from", "to", "limit", "attribute", "trace_id", "status"],
        )
        .unwrap()
    }

    #[test]
    fn times_are_numbers_dates_or_ages() {
        assert_eq!(time_ns("1500000", 0), Some(1_500_000_000));
        assert_eq!(time_ns("1970-01-01T00:00:02Z", 0), Some(2_000_000_000));
        assert_eq!(time_ns("1s", 5_000_000_000), Some(4_000_000_000));
        assert_eq!(time_ns("-3", 0), None);
        assert_eq!(time_ns("yesterday", 0), None);
    }

    #[test]
    fn an_unknown_name_tells_the_known_ones() {
        let error = Params::parse("servce=a", &["service", "limit"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no parameter \"servce\"; allowed: service, limit"
        );
    }

    #[test]
    fn a_wrong_value_tells_what_is_right() {
        let error = params("limit=0").limit(20, 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "limit=\"0\" is not right; expected: a number from 1 to 100"
        );
        assert!(params("attribute=a").attributes().is_err());
        assert!(params("attribute=a%22=b").attributes().is_err());
        assert!(
            params("trace_id=+0000000000000000000000000000001")
                .trace_id("trace_id")
                .is_err()
        );
        assert!(params("from=1000&to=1").range(Duration::ZERO).is_err());
        assert!(params("status=bad").word("status", &[("ok", 1)]).is_err());
    }

    #[test]
    fn an_attribute_is_split_at_its_first_sign() {
        assert_eq!(
            params("attribute=a.b%3Dc%3Dd").attributes().unwrap(),
            [("a.b".to_owned(), "c=d".to_owned())]
        );
    }
}
