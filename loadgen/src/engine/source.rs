//! When journeys of one worker begin.

use std::{collections::VecDeque, time::Duration};

use super::{Arrival, Command, Plan};
use crate::{
    schedule::{Arrivals, Profile, Slope, Spacing},
    workload::Chance,
};

/// A worker's part: every `of`-th arrival, beginning with the `number`-th.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) number: usize,
    pub(super) of: usize,
}

impl Share {
    /// This worker's part of so many things.
    pub(super) fn part(self, whole: usize) -> usize {
        whole / self.of + usize::from(self.number < whole % self.of)
    }

    /// The number among all of this worker's n-th.
    fn arrival(self, n: u64) -> u64 {
        self.number as u64 + n * self.of as u64
    }
}

/// See the module.
pub(super) struct Source {
    kind: Kind,
    share: Share,
    /// Arrivals so far.
    count: u64,
    is_paused: bool,
    is_stopped: bool,
}

enum Kind {
    /// At times that are known before, unless somebody has set another rate.
    Planned {
        times: Box<dyn Iterator<Item = Duration> + Send>,
        next: Option<Duration>,
        live: Option<Live>,
        spacing: Spacing,
        seed: u64,
        end: Duration,
    },
    /// When users have thought: each is due once, in order, and again after its answer.
    Users {
        due: VecDeque<Duration>,
        think: Duration,
        end: Duration,
    },
}

/// A rate that somebody has set, this worker's part of it.
struct Live {
    slope: Slope,
    /// Arrivals of all workers between two of this one's, on average.
    of: f64,
    next: Duration,
    chance: Chance,
    spacing: Spacing,
}

impl Live {
    fn advance(&mut self) {
        let interval = match self.spacing {
            Spacing::Even => 1.0,
            Spacing::Poisson => self.chance.exponential(),
        };
        self.next = self.slope.after(self.next, interval * self.of);
    }
}

impl Source {
    pub(super) fn new(plan: &Plan, share: Share) -> Self {
        let kind = match &plan.arrival {
            Arrival::Open { profile, spacing } => {
                let seed = plan.workload.seed;
                let mut times = Box::new(share_of(profile, *spacing, seed, share));
                Kind::Planned {
                    next: times.next(),
                    times,
                    live: None,
                    spacing: *spacing,
                    seed,
                    end: profile.length(),
                }
            }
            Arrival::Closed {
                users,
                think,
                length,
            } => Kind::Users {
                due: vec![Duration::ZERO; share.part(*users)].into(),
                think: *think,
                end: *length,
            },
        };
        Self {
            kind,
            share,
            count: 0,
            is_paused: false,
            is_stopped: false,
        }
    }

    /// When the next one is due.
    pub(super) fn peek(&self) -> Option<Duration> {
        if self.is_paused || self.is_stopped {
            return None;
        }
        match &self.kind {
            Kind::Planned {
                live: Some(live),
                end,
                ..
            } => (live.next < *end).then_some(live.next),
            Kind::Planned { next, .. } => *next,
            Kind::Users { due, end, .. } => due.front().copied().filter(|due| due < end),
        }
    }

    /// Whether none will ever be due again, whatever happens; users under way apart.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        if self.is_stopped {
            return true;
        }
        match &self.kind {
            Kind::Planned {
                live: Some(_), end, ..
            } => now >= *end,
            Kind::Planned { end, .. } if self.is_paused => now >= *end,
            Kind::Planned { next, .. } => next.is_none(),
            Kind::Users { end, .. } if self.is_paused => now >= *end,
            Kind::Users { due, end, .. } => due.front().is_none_or(|due| due >= end),
        }
    }

    /// Takes the next one; its number among all workers'.
    pub(super) fn advance(&mut self) -> u64 {
        match &mut self.kind {
            Kind::Planned {
                live: Some(live), ..
            } => live.advance(),
            Kind::Planned { times, next, .. } => *next = times.next(),
            Kind::Users { due, .. } => {
                due.pop_front();
            }
        }
        self.count += 1;
        self.share.arrival(self.count - 1)
    }

    /// A journey has ended, well or not.
    pub(super) fn ended(&mut self, now: Duration) {
        if let Kind::Users { due, think, .. } = &mut self.kind {
            // In order by itself: everybody thinks for the same time.
            due.push_back(now + *think);
        }
    }

    /// Somebody wants it otherwise from now on.
    pub(super) fn obey(&mut self, command: Command, now: Duration) {
        self.is_paused = command.is_paused;
        match &mut self.kind {
            Kind::Planned {
                times,
                next,
                live,
                spacing,
                seed,
                ..
            } => {
                // What was due meanwhile is not made up for.
                while next.is_some_and(|time| time < now) {
                    *next = times.next();
                }
                *live = command.rate.map(|slope| {
                    Live {
                        slope,
                        of: self.share.of as f64,
                        // Workers are apart by a part of an interval each, as they are in a plan.
                        next: slope.after(now, self.share.number as f64),
                        chance: Chance::of(*seed, u64::MAX - self.share.number as u64),
                        spacing: *spacing,
                    }
                });
            }
            Kind::Users { due, .. } => {
                for time in due.iter_mut() {
                    *time = (*time).max(now);
                }
            }
        }
    }

    /// None is due from now on.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }
}

/// The planned times of one worker: every n-th of all of them, so that together they are the plan, whatever their number.
fn share_of(
    profile: &Profile,
    spacing: Spacing,
    seed: u64,
    share: Share,
) -> impl Iterator<Item = Duration> + use<> {
    Arrivals::new(profile, spacing, seed)
        .skip(share.number)
        .step_by(share.of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Segment;

    fn source(number: usize, of: usize) -> Source {
        let length = Duration::from_secs(3600);
        let profile = Profile::new([Segment {
            length,
            from: 10.0,
            to: 10.0,
        }]);
        let mut times = Box::new(share_of(&profile, Spacing::Even, 7, Share { number, of }));
        Source {
            kind: Kind::Planned {
                next: times.next(),
                times,
                live: None,
                spacing: Spacing::Even,
                seed: 7,
                end: length,
            },
            share: Share { number, of },
            count: 0,
            is_paused: false,
            is_stopped: false,
        }
    }

    /// What is due from a moment until another one, told of a rate at the first.
    fn due(workers: usize, rate: Slope, from: Duration, until: Duration) -> Vec<Duration> {
        let command = Command {
            rate: Some(rate),
            is_paused: false,
        };
        let mut all = Vec::new();
        for number in 0..workers {
            let mut source = source(number, workers);
            source.obey(command, from);
            while let Some(time) = source.peek().filter(|time| *time < until) {
                all.push(time);
                source.advance();
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn workers_go_up_a_ramp_together() {
        let seconds = Duration::from_secs;
        let slope = Slope::new(seconds(60), 10.0, 110.0, seconds(10));
        let alone = due(1, slope, seconds(60), seconds(75));
        // 60 a second for ten seconds, and then 110.
        assert!(alone.len().abs_diff(600 + 550) <= 1, "{}", alone.len());
        let first = alone.iter().filter(|time| **time < seconds(65)).count();
        assert!(first.abs_diff(175) <= 1, "{first}");
        let together = due(4, slope, seconds(60), seconds(75));
        assert!(together.len().abs_diff(alone.len()) <= 1);
        for (one, other) in alone.iter().zip(&together) {
            assert!(
                one.abs_diff(*other) < Duration::from_micros(10),
                "{one:?} {other:?}"
            );
        }
        // Who hears of it later goes on from there: nothing is made up for.
        let late = due(4, slope, seconds(65), seconds(75));
        assert!(late.len().abs_diff(600 + 550 - 175) <= 4, "{}", late.len());
    }

    #[test]
    fn a_rate_of_nothing_has_no_arrivals() {
        let seconds = Duration::from_secs;
        let none = Slope::new(seconds(5), 10.0, 0.0, Duration::ZERO);
        assert_eq!(due(2, none, seconds(5), seconds(60)), []);
    }
}
