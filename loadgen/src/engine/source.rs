//! When journeys of one worker begin.

use std::{collections::VecDeque, time::Duration};

use super::{Arrival, Command, Plan};
use crate::{
    schedule::{Arrivals, Profile, Spacing},
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
    per_second: f64,
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
        let seconds = interval / self.per_second;
        self.next = self
            .next
            .saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
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
            } => (live.per_second > 0.0 && live.next < *end).then_some(live.next),
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
                *live = command.per_second.map(|whole| {
                    let per_second = whole / self.share.of as f64;
                    // Workers are apart by a part of an interval each, as they are in a plan.
                    let lead = self.share.number as f64 / whole;
                    let lead = Duration::try_from_secs_f64(lead).unwrap_or(Duration::MAX);
                    Live {
                        per_second,
                        next: now.saturating_add(lead),
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
