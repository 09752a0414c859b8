//! A recorded rate, as lines of `at_s,rate`: each rate holds until the next line's time, and the last line is the end.

use std::time::Duration;

use super::{profile::Segment, stage::rate};

/// A recording that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line}: {reason}; expected: lines of `at_s,rate` such as `0,120` and `1.5,80`, with growing times; more columns are left alone"
)]
pub struct ReplayError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// The rates of a recording, such as the time series that a run has written as CSV.
///
/// # Errors
/// [`ReplayError`], with the line.
pub fn replay(text: &str) -> Result<Vec<Segment>, ReplayError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut last: Option<(f64, f64)> = None;
    for (number, line) in text.lines().enumerate() {
        let refused = |reason: String| ReplayError {
            line: number + 1,
            reason,
        };
        let line = line.trim();
        let is_heading = number == 0 && line.starts_with(|first: char| first.is_alphabetic());
        if line.is_empty() || line.starts_with('#') || is_heading {
            continue;
        }
        let mut columns = line.split(',');
        let (at, of) = (columns.next().unwrap_or_default(), columns.next());
        let at: f64 = at
            .trim()
            .parse()
            .ok()
            .filter(|at: &f64| at.is_finite() && (0.0..=604_800.0).contains(at))
            .ok_or_else(|| refused(format!("`{at}` is no time in seconds")))?;
        let of = of.ok_or_else(|| refused("there is no rate".to_owned()))?;
        let of = rate(of).map_err(refused)?;
        let (before, rate) = last.unwrap_or((0.0, 0.0));
        if at < before {
            return Err(refused(format!("{at} comes before {before}")));
        }
        segments.push(Segment {
            length: Duration::from_secs_f64(at - before),
            from: rate,
            to: rate,
        });
        last = Some((at, of));
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Profile;

    #[test]
    fn each_rate_holds_until_the_next() {
        let text = "at_s,rate,more\n# a comment\n1,100,x\n3,50\n\n4,0\n";
        let profile = Profile::new(replay(text).unwrap());
        assert_eq!(profile.length(), Duration::from_secs(4));
        let at = |ms| profile.rate_at(Duration::from_millis(ms));
        assert_eq!([at(500), at(1_500), at(3_500)], [0.0, 100.0, 50.0]);
        assert_eq!(profile.arrivals(), 250.0);
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, line, reason) in [
            ("0,5\nx,5", 2, "`x` is no time"),
            ("0,5\n1,fast", 2, "`fast` is no rate"),
            ("0,5\n2,5\n1,5", 3, "1 comes before 2"),
            ("0", 1, "there is no rate"),
            ("-1,5", 1, "is no time"),
        ] {
            let error = replay(text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
