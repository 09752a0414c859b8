//! Conditions on what was measured: `p99<250ms`, `errors<1%`, `rate>=500`.

use std::time::Duration;

use crate::stats::{Stats, Times};

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    /// A quantile of the response time.
    Quantile(f64),
    Mean,
    Max,
    /// The share of requests that failed.
    Errors,
    /// Answers a second.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    figure: Figure,
    relation: Relation,
    /// Seconds, a share, or a number a second.
    value: f64,
}

/// A condition that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "threshold `{text}`: {reason}; expected: FIGURE RELATION VALUE, such as p99<250ms, errors<1%, rate>=500; figures: p50 to p99.99, mean, max, errors, rate"
)]
pub struct ThresholdError {
    text: String,
    reason: String,
}

/// How a condition came out.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Verdict {
    /// As it was written.
    pub threshold: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was measured, in words.
    pub measured: String,
}

impl Threshold {
    /// Reads a condition.
    ///
    /// # Errors
    /// [`ThresholdError`], with what could be there.
    pub fn parse(text: &str) -> Result<Self, ThresholdError> {
        let refused = |reason: String| ThresholdError {
            text: text.to_owned(),
            reason,
        };
        let at = text
            .find(['<', '>'])
            .ok_or_else(|| refused("there is no < or >".to_owned()))?;
        let (name, rest) = text.split_at(at);
        let (relation, value) = [
            ("<=", Relation::AtMost),
            (">=", Relation::AtLeast),
            ("<", Relation::Less),
            (">", Relation::More),
        ]
        .into_iter()
        .find_map(|(sign, relation)| Some((relation, rest.strip_prefix(sign)?.trim())))
        .ok_or_else(|| refused("there is no < or >".to_owned()))?;
        let figure = figure(name.trim()).map_err(refused)?;
        let value = match figure {
            Figure::Quantile(_) | Figure::Mean | Figure::Max => humantime::parse_duration(value)
                .map_err(|_| refused(format!("`{value}` is no time")))?
                .as_secs_f64(),
            Figure::Errors => number(value.strip_suffix('%').unwrap_or(value))
                .map(|share| share / if value.ends_with('%') { 100.0 } else { 1.0 })
                .filter(|share| (0.0..=1.0).contains(share))
                .ok_or_else(|| refused(format!("`{value}` is no share, such as 1% or 0.01")))?,
            Figure::Rate => number(value.strip_suffix("/s").unwrap_or(value))
                .ok_or_else(|| refused(format!("`{value}` is no rate")))?,
        };
        Ok(Self {
            text: text.to_owned(),
            figure,
            relation,
            value,
        })
    }

    /// Compares. Of a run without an answer no time is known, and no condition on one holds.
    #[must_use]
    pub fn judge(&self, stats: &Stats, elapsed: Duration) -> Verdict {
        let (found, words) = match self.figure {
            Figure::Errors => {
                let share = stats.error_share();
                (Some(share), format!("{:.3} %", share * 100.0))
            }
            Figure::Rate => {
                let rate = stats.answered_per_second(elapsed);
                (Some(rate), format!("{rate:.1}/s"))
            }
            Figure::Quantile(share) => time(&stats.response, |times| times.quantile(share)),
            Figure::Mean => time(&stats.response, Times::mean),
            Figure::Max => time(&stats.response, Times::max),
        };
        let holds = found.is_some_and(|found| match self.relation {
            Relation::Less => found < self.value,
            Relation::AtMost => found <= self.value,
            Relation::More => found > self.value,
            Relation::AtLeast => found >= self.value,
        });
        Verdict {
            threshold: self.text.clone(),
            holds,
            measured: words,
        }
    }
}

fn time(times: &Times, of: impl FnOnce(&Times) -> Duration) -> (Option<f64>, String) {
    if times.count() == 0 {
        return (None, "no answers".to_owned());
    }
    let seconds = of(times).as_secs_f64();
    (Some(seconds), format!("{:.3} ms", seconds * 1e3))
}

fn number(text: &str) -> Option<f64> {
    let number: f64 = text.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

fn figure(name: &str) -> Result<Figure, String> {
    match name {
        "mean" => Ok(Figure::Mean),
        "max" => Ok(Figure::Max),
        "errors" => Ok(Figure::Errors),
        "rate" => Ok(Figure::Rate),
        _ => name
            .strip_prefix('p')
            .and_then(number)
            .filter(|percent| *percent > 0.0 && *percent <= 100.0)
            .map(|percent| Figure::Quantile(percent / 100.0))
            .ok_or_else(|| format!("there is no figure `{name}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ErrorKind;

    const ELAPSED: Duration = Duration::from_secs(10);

    fn stats() -> Stats {
        let mut stats = Stats::default();
        for ms in 1..=100 {
            let time = Duration::from_millis(ms);
            stats.answer(0, 200, time, time);
        }
        stats.due = 101;
        stats.error(0, ErrorKind::Timeout);
        stats
    }

    #[test]
    fn conditions_hold_or_not() {
        for (text, holds) in [
            ("p99<100ms", true),
            ("p99 < 98ms", false),
            ("p50<=51ms", true),
            ("max>=99ms", true),
            ("mean<1s", true),
            ("errors<1%", true),
            ("errors<0.9%", false),
            ("errors<=0.01", true),
            ("rate>=10", true),
            ("rate>10/s", false),
        ] {
            let verdict = Threshold::parse(text).unwrap().judge(&stats(), ELAPSED);
            assert_eq!(verdict.holds, holds, "{verdict:?}");
        }
    }

    #[test]
    fn without_answers_no_condition_on_a_time_holds() {
        let threshold = Threshold::parse("p99<10s").unwrap();
        assert!(!threshold.judge(&Stats::default(), ELAPSED).holds);
    }

    #[test]
    fn what_is_not_understood_says_what_would_be() {
        for text in [
            "p99",
            "p0<1s",
            "p101<1s",
            "q9<1s",
            "p99<fast",
            "errors<2",
            "errors<-1%",
            "rate>many",
            "<1s",
        ] {
            let error = Threshold::parse(text).unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("p99<250ms"),
                "{error}"
            );
        }
    }
}
