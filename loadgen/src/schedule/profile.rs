//! A rate over time, as straight lines.

use std::time::Duration;

/// A stretch of time in which the rate goes evenly from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// How long.
    pub length: Duration,
    /// Arrivals a second at its beginning.
    pub from: f64,
    /// At its end.
    pub to: f64,
}

impl Segment {
    /// How many arrivals it has.
    pub(super) fn arrivals(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.length.as_secs_f64()
    }

    /// After how many seconds `count` of them have come; `count` is not more than it has.
    pub(super) fn seconds_until(&self, count: f64) -> f64 {
        let slope = (self.to - self.from) / self.length.as_secs_f64();
        // Of the two forms of the root the one that does not take a difference of near numbers.
        let root = (self.from * self.from + 2.0 * slope * count)
            .max(0.0)
            .sqrt();
        let sum = self.from + root;
        if sum > 0.0 { 2.0 * count / sum } else { 0.0 }
    }
}

/// Segments, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    segments: Vec<Segment>,
}

impl Profile {
    /// A profile; segments without a length are nothing.
    #[must_use]
    pub fn new(segments: impl IntoIterator<Item = Segment>) -> Self {
        Self {
            segments: segments
                .into_iter()
                .filter(|segment| !segment.length.is_zero())
                .collect(),
        }
    }

    /// Goes on with its last rate until so long has passed.
    pub fn hold_until(&mut self, length: Duration) {
        let rest = length.saturating_sub(self.length());
        if let Some(rate) = self.segments.last().map(|segment| segment.to)
            && !rest.is_zero()
        {
            self.segments.push(Segment {
                length: rest,
                from: rate,
                to: rate,
            });
        }
    }

    /// How long it takes.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    /// How many arrivals it has; not a whole number.
    #[must_use]
    pub fn arrivals(&self) -> f64 {
        self.segments.iter().map(Segment::arrivals).sum()
    }

    /// The rate at a moment, 0 outside of it.
    #[must_use]
    pub fn rate_at(&self, at: Duration) -> f64 {
        let mut begun = Duration::ZERO;
        for segment in &self.segments {
            let end = begun + segment.length;
            if at < end {
                let share = (at - begun).as_secs_f64() / segment.length.as_secs_f64();
                return segment.from + (segment.to - segment.from) * share;
            }
            begun = end;
        }
        0.0
    }

    /// A cursor that says when so many arrivals have come; it only goes forward.
    #[must_use]
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            segments: self.segments.clone(),
            at: 0,
            begun: Duration::ZERO,
            before: 0.0,
        }
    }
}

/// Where in a profile one is.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    segments: Vec<Segment>,
    at: usize,
    begun: Duration,
    /// Arrivals before this segment.
    before: f64,
}

impl Cursor {
    /// When `count` arrivals have come, which is not fewer than the last time; `None` where the profile has not as many.
    pub(super) fn time_of(&mut self, count: f64) -> Option<Duration> {
        while let Some(segment) = self.segments.get(self.at) {
            let within = count - self.before;
            let has = segment.arrivals();
            // The end belongs to the next segment, so that a profile of 10 a second for 1 s has 10 arrivals, from 0.0 to 0.9 s.
            if within < has {
                let seconds = segment.seconds_until(within.max(0.0));
                return Some(self.begun + Duration::from_secs_f64(seconds));
            }
            self.before += has;
            self.begun += segment.length;
            self.at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(seconds: f64, from: f64, to: f64) -> Segment {
        Segment {
            length: Duration::from_secs_f64(seconds),
            from,
            to,
        }
    }

    #[test]
    fn a_profile_goes_on_with_its_last_rate() {
        let mut profile = Profile::new([segment(2.0, 10.0, 20.0)]);
        profile.hold_until(Duration::from_secs(10));
        assert_eq!(profile.length(), Duration::from_secs(10));
        assert_eq!(profile.rate_at(Duration::from_secs(9)), 20.0);
        assert_eq!(profile.arrivals(), 30.0 + 160.0);
        profile.hold_until(Duration::from_secs(3));
        assert_eq!(profile.length(), Duration::from_secs(10));
    }

    #[test]
    fn rates_and_times_are_where_the_lines_are() {
        let profile = Profile::new([segment(2.0, 10.0, 10.0), segment(4.0, 0.0, 20.0)]);
        assert_eq!(profile.length(), Duration::from_secs(6));
        assert_eq!(profile.arrivals(), 60.0);
        assert_eq!(profile.rate_at(Duration::from_secs(1)), 10.0);
        assert_eq!(profile.rate_at(Duration::from_secs(4)), 10.0);
        assert_eq!(profile.rate_at(Duration::from_secs(6)), 0.0);
        let mut cursor = profile.cursor();
        assert_eq!(cursor.time_of(5.0), Some(Duration::from_millis(500)));
        // A quarter of a ramp's arrivals come in its first half.
        assert_eq!(cursor.time_of(30.0), Some(Duration::from_secs(4)));
        assert_eq!(cursor.time_of(60.0), None);
    }

    #[test]
    fn pauses_are_skipped() {
        let profile = Profile::new([segment(1.0, 0.0, 0.0), segment(1.0, 5.0, 5.0)]);
        assert_eq!(profile.cursor().time_of(0.0), Some(Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn times_are_the_inverse_of_counts(
            lines in prop::collection::vec((0.01_f64..100.0, 0.0_f64..10_000.0, 0.0_f64..10_000.0), 1..6),
            share in 0.0_f64..0.999,
        ) {
            let profile = Profile::new(lines.iter().map(|(seconds, from, to)| segment(*seconds, *from, *to)));
            let wanted = profile.arrivals() * share;
            if let Some(time) = profile.cursor().time_of(wanted) {
                // Counted up again by small steps.
                let steps = 20_000;
                let step = time.as_secs_f64() / f64::from(steps);
                let counted: f64 = (0..steps)
                    .map(|at| profile.rate_at(Duration::from_secs_f64((f64::from(at) + 0.5) * step)) * step)
                    .sum();
                prop_assert!((counted - wanted).abs() <= 1.0 + wanted * 1e-3, "{counted} instead of {wanted}");
            }
        }
    }
}
