//! What was measured in the last seconds: exact, as whole histograms are kept for each second.

use std::{collections::VecDeque, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::{ErrorKind, Stats};

/// Seconds that are kept.
pub(super) const LONGEST_S: u64 = 60;

/// The last seconds of a run.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(u64, Stats)>);

/// What was measured in the last seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lately {
    /// How many seconds; fewer than were asked for where the run is younger.
    pub seconds: u64,
    /// Requests that were due.
    pub due: u64,
    /// Answers.
    pub answered: u64,
    /// Errors of every kind.
    pub errors: u64,
    /// Answers that were no errors, and came in time.
    pub good: u64,
    /// Answers that were no errors, and came too late.
    pub slow: u64,
    /// The response time that the wanted share of the answers does not exceed; 0 without answers.
    pub quantile_ns: u64,
}

impl Window {
    /// Adds what was measured at a moment of the run.
    pub(super) fn add(&mut self, at: Duration, new: &Stats) {
        let second = at.as_secs();
        match self.0.back_mut() {
            Some((last, stats)) if *last == second => stats.add_briefly(new),
            _ => {
                let mut stats = Stats::new(0, 0);
                stats.add_briefly(new);
                self.0.push_back((second, stats));
            }
        }
        while self
            .0
            .front()
            .is_some_and(|(first, _)| first + LONGEST_S < second)
        {
            self.0.pop_front();
        }
    }

    /// Of the last seconds, the one that is not over included: what came within `in_time` was good, and `quantile` is a share.
    pub(super) fn lately(
        &self,
        at: Duration,
        seconds: u64,
        in_time: Duration,
        quantile: f64,
    ) -> Lately {
        let second = at.as_secs();
        let mut all = Stats::new(0, 0);
        for (when, stats) in &self.0 {
            if when + seconds > second {
                all.add_briefly(stats);
            }
        }
        Lately::of(&all, seconds.min(second + 1), in_time, quantile)
    }
}

impl Lately {
    /// Of what was measured in so many seconds.
    pub(super) fn of(all: &Stats, seconds: u64, in_time: Duration, quantile: f64) -> Self {
        let errors = all.failed();
        // Those of the errors that were answers, and have a response time; timeouts and the like have none.
        let bad_answers: u64 = [ErrorKind::Status, ErrorKind::Check]
            .iter()
            .filter_map(|kind| all.errors.get(kind))
            .sum();
        let answers = all.response.count();
        let good = all
            .response
            .count_up_to(in_time)
            .saturating_sub(bad_answers);
        let is_empty = answers == 0;
        Self {
            seconds,
            due: all.due,
            answered: all.answered(),
            errors,
            good,
            slow: answers.saturating_sub(bad_answers).saturating_sub(good),
            quantile_ns: if is_empty {
                0
            } else {
                u64::try_from(all.response.quantile(quantile).as_nanos()).unwrap_or(u64::MAX)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(due: u64, times_ms: &[u64]) -> Stats {
        let mut stats = Stats::new(1, 0);
        for _ in 0..due {
            stats.is_due(0);
        }
        for time_ms in times_ms {
            let time = Duration::from_millis(*time_ms);
            stats.answer(0, 200, time, time);
        }
        stats
    }

    #[test]
    fn only_the_last_seconds_count() {
        let mut window = Window::default();
        let at = Duration::from_secs_f64;
        window.add(at(0.5), &measured(10, &[900; 10]));
        window.add(at(5.1), &measured(3, &[10, 20]));
        window.add(at(5.9), &measured(2, &[30, 2000]));
        let second = Duration::from_secs(1);
        let lately = window.lately(at(6.2), 2, second, 0.5);
        assert_eq!(
            (lately.due, lately.answered, lately.good, lately.errors),
            (5, 4, 3, 0)
        );
        let near = lately.quantile_ns as f64 / 1e6;
        assert!((19.0..21.0).contains(&near), "{lately:?}");
        let all = window.lately(at(6.2), 60, second, 0.5);
        assert_eq!((all.due, all.seconds), (15, 7));
        let none = window.lately(at(20.0), 2, second, 0.99);
        assert_eq!((none.due, none.quantile_ns), (0, 0));
    }

    #[test]
    fn an_error_counts_once_whether_it_was_an_answer_or_not() {
        let mut window = Window::default();
        let mut stats = measured(10, &[10, 20, 30, 40, 3000]);
        let time = Duration::from_millis(5);
        stats.answer(0, 500, time, time);
        stats.error(0, ErrorKind::Status);
        for _ in 0..4 {
            stats.error(0, ErrorKind::Timeout);
        }
        window.add(Duration::ZERO, &stats);
        let lately = window.lately(Duration::ZERO, 5, Duration::from_secs(1), 0.5);
        assert_eq!(
            (lately.due, lately.good, lately.slow, lately.errors),
            (10, 4, 1, 5)
        );
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let mut window = Window::default();
        for second in 0..200 {
            window.add(Duration::from_secs(second), &measured(1, &[1]));
        }
        assert!(
            window.0.len() <= LONGEST_S as usize + 1,
            "{}",
            window.0.len()
        );
        let at = Duration::from_secs(199);
        assert_eq!(window.lately(at, 60, at, 0.5).due, 60);
    }
}
