//! Stages as users write them.

use std::{f64::consts::TAU, time::Duration};

use super::profile::Segment;

/// A stage that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage `{text}`: {reason}; expected: {EXPECTED}")]
pub struct StageError {
    /// The stage.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

const EXPECTED: &str = "`RATE for TIME`, `RATE..RATE for TIME` (a ramp), `steps RATE..RATE by RATE for TIME`, \
    `spike RATE..RATE for TIME` (the middle fifth), `sine RATE..RATE every TIME for TIME`, or `pause for TIME`, \
    such as `200 for 1m` or `50..500 for 30s`";

/// The highest rate, in arrivals a second: beyond it only a mistake is meant.
pub const HIGHEST_RATE: f64 = 10_000_000.0;
/// The longest stage.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Straight lines in one period of a sine: the rate is off by less than 0.1 % of its amplitude.
const LINES: u32 = 72;

/// The segments of one stage.
///
/// # Errors
/// [`StageError`], which says what could be there.
pub fn parse(text: &str) -> Result<Vec<Segment>, StageError> {
    let refused = |reason: String| StageError {
        text: text.to_owned(),
        reason,
    };
    let (what, length) = text
        .rsplit_once(" for ")
        .ok_or_else(|| refused("it does not say for how long".to_owned()))?;
    let length = time(length).map_err(refused)?;
    let what = what.trim();
    if what == "pause" {
        return Ok(vec![line(length, 0.0, 0.0)]);
    }
    if let Some(wave) = what.strip_prefix("sine ") {
        let (rates, period) = wave
            .split_once(" every ")
            .ok_or_else(|| refused("a sine needs its period: `every TIME`".to_owned()))?;
        let period = time(period).map_err(refused)?;
        let (low, high) = range(rates).map_err(refused)?;
        return Ok(sine(low, high, period, length));
    }
    if let Some(steps) = what.strip_prefix("steps ") {
        let (rates, by) = steps
            .split_once(" by ")
            .ok_or_else(|| refused("steps need their height: `by RATE`".to_owned()))?;
        let (from, to) = range(rates).map_err(refused)?;
        let by = rate(by).map_err(refused)?;
        return staircase(from, to, by, length).map_err(refused);
    }
    if let Some(rates) = what.strip_prefix("spike ") {
        let (usual, highest) = range(rates).map_err(refused)?;
        let (around, spike) = (length * 2 / 5, length / 5);
        return Ok(vec![
            line(around, usual, usual),
            line(spike, highest, highest),
            line(length - around - spike, usual, usual),
        ]);
    }
    if what.contains("..") {
        let (from, to) = range(what).map_err(refused)?;
        return Ok(vec![line(length, from, to)]);
    }
    let rate = rate(what).map_err(refused)?;
    Ok(vec![line(length, rate, rate)])
}

fn line(length: Duration, from: f64, to: f64) -> Segment {
    Segment { length, from, to }
}

/// Equally long steps, the last at `to`.
fn staircase(from: f64, to: f64, by: f64, length: Duration) -> Result<Vec<Segment>, String> {
    const MOST: f64 = 10_000.0;
    let height = (to - from).abs();
    if by <= 0.0 || height / by > MOST {
        return Err(format!(
            "from {from} to {to} by {by} are not 1 to {MOST} steps"
        ));
    }
    let steps = (height / by).ceil() as u32 + 1;
    let rate = |step: u32| {
        let rise = (f64::from(step) * by).min(height);
        from + rise.copysign(to - from)
    };
    let end = |step: u32| length.mul_f64(f64::from(step) / f64::from(steps));
    Ok((0..steps)
        .map(|step| line(end(step + 1) - end(step), rate(step), rate(step)))
        .collect())
}

/// From the middle upwards.
fn sine(low: f64, high: f64, period: Duration, length: Duration) -> Vec<Segment> {
    let (middle, amplitude) = ((low + high) / 2.0, (high - low) / 2.0);
    let at = |seconds: f64| middle + amplitude * (TAU * seconds / period.as_secs_f64()).sin();
    let step = period / LINES;
    let mut segments = Vec::new();
    let mut begun = Duration::ZERO;
    while begun < length && !step.is_zero() {
        let length = step.min(length - begun);
        let end = begun + length;
        segments.push(line(length, at(begun.as_secs_f64()), at(end.as_secs_f64())));
        begun = end;
    }
    segments
}

fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let time = humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is no time, such as 30s or 2m"))?;
    if time < Duration::from_millis(1) || time > LONGEST {
        return Err(format!("`{text}` is not between 1ms and 7 days"));
    }
    Ok(time)
}

fn range(text: &str) -> Result<(f64, f64), String> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| format!("`{text}` is not RATE..RATE"))?;
    Ok((rate(from)?, rate(to)?))
}

/// A rate in arrivals a second; `/s` may be there.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.strip_suffix("/s").unwrap_or(text);
    match number.trim().parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.0..=HIGHEST_RATE).contains(&rate) => Ok(rate),
        Ok(_) => Err(format!(
            "the rate `{text}` is not between 0 and {HIGHEST_RATE}"
        )),
        Err(_) => Err(format!("`{text}` is no rate, such as 200 or 200/s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Profile;

    #[test]
    fn every_form_is_understood() {
        let seconds = Duration::from_secs;
        assert_eq!(
            parse("200 for 1m").unwrap(),
            [line(seconds(60), 200.0, 200.0)]
        );
        assert_eq!(
            parse(" 0..500/s for 30s").unwrap(),
            [line(seconds(30), 0.0, 500.0)]
        );
        assert_eq!(parse("pause for 5s").unwrap(), [line(seconds(5), 0.0, 0.0)]);
        let wave = Profile::new(parse("sine 100..300 every 10s for 25s").unwrap());
        assert_eq!(wave.length(), seconds(25));
        assert!((wave.rate_at(Duration::from_millis(2_500)) - 300.0).abs() < 0.3);
        assert!((wave.rate_at(Duration::from_millis(7_500)) - 100.0).abs() < 0.3);
        // Two whole periods and half of one, which is above the middle.
        let whole = 200.0 * 25.0 + 100.0 * 10.0 / std::f64::consts::PI;
        assert!((wave.arrivals() - whole).abs() < whole * 1e-3);
    }

    #[test]
    fn steps_and_spikes_are_where_they_are_said_to_be() {
        let profile = |text| Profile::new(parse(text).unwrap());
        let at = |profile: &Profile, seconds| profile.rate_at(Duration::from_secs(seconds));
        let steps = profile("steps 100..250 by 50 for 40s");
        let rates = [5, 15, 25, 35].map(|seconds| at(&steps, seconds));
        assert_eq!(rates, [100.0, 150.0, 200.0, 250.0]);
        let down = profile("steps 250..90 by 100 for 30s");
        let rates = [5, 15, 25].map(|seconds| at(&down, seconds));
        assert_eq!(rates, [250.0, 150.0, 90.0]);
        let spike = profile("spike 10..500 for 50s");
        let rates = [19, 21, 29, 31].map(|seconds| at(&spike, seconds));
        assert_eq!(rates, [10.0, 500.0, 500.0, 10.0]);
    }

    #[test]
    fn what_is_not_says_why() {
        for (text, reason) in [
            ("200", "for how long"),
            ("fast for 1m", "`fast` is no rate"),
            ("-5 for 1m", "not between 0 and"),
            ("1e99 for 1m", "not between 0 and"),
            ("NaN for 1m", "not between 0 and"),
            ("5 for ever", "`ever` is no time"),
            ("5 for 0s", "not between 1ms"),
            ("sine 1..2 for 5s", "needs its period"),
            ("sine 5 every 1s for 5s", "is not RATE..RATE"),
            ("1.. for 5s", "`` is no rate"),
            ("steps 1..5 for 5s", "need their height"),
            ("steps 1..5 by 0 for 5s", "steps"),
            ("spike 5 for 5s", "is not RATE..RATE"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains(reason) && error.contains("50..500 for 30s"),
                "{error}"
            );
        }
    }
}
