//! The time series as CSV (RFC 4180); its first two columns can be replayed.

use super::Moment;

/// A line for each interval, under a heading. Times are in milliseconds.
#[must_use]
pub fn csv(series: &[Moment]) -> String {
    let mut text =
        "at_s,rate,length_s,due,answered,errors,dropped,retries,p50_ms,p95_ms,p99_ms,max_ms\n"
            .to_owned();
    let ms = |ns: u64| ns as f64 / 1e6;
    for moment in series {
        let answered = moment.answered as f64 / moment.length_s.max(1e-9);
        text.push_str(&format!(
            "{:.3},{:.3},{:.3},{},{},{},{},{},{:.3},{:.3},{:.3},{:.3}\n",
            moment.at_s,
            moment.rate.unwrap_or(answered),
            moment.length_s,
            moment.due,
            moment.answered,
            moment.errors,
            moment.dropped,
            moment.retries,
            ms(moment.p50_ns),
            ms(moment.p95_ns),
            ms(moment.p99_ns),
            ms(moment.max_ns)
        ));
    }
    // The end, for a replay.
    if let Some(last) = series.last() {
        text.push_str(&format!(
            "{:.3},0,0,0,0,0,0,0,0,0,0,0\n",
            last.at_s + last.length_s
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Profile, replay};

    #[test]
    fn what_was_asked_for_can_be_asked_for_again() {
        let moment = |at_s, rate| Moment {
            at_s,
            length_s: 1.0,
            rate: Some(rate),
            due: 1,
            answered: 1,
            errors: 0,
            dropped: 0,
            retries: 0,
            p50_ns: 1_500_000,
            p95_ns: 0,
            p99_ns: 0,
            max_ns: 0,
        };
        let text = csv(&[moment(0.0, 10.0), moment(1.0, 20.0)]);
        assert!(
            text.contains("0.000,10.000,1.000,1,1,0,0,0,1.500,"),
            "{text}"
        );
        let profile = Profile::new(replay(&text).unwrap());
        assert_eq!((profile.arrivals(), profile.length().as_secs()), (30.0, 2));
    }
}
