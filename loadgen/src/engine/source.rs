//! When requests of one worker are due.

use std::{collections::VecDeque, time::Duration};

use super::{Arrival, Plan};
use crate::schedule::{Arrivals, Profile, Spacing};

/// A worker's part: every `of`-th request, beginning with the `number`-th.
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
}

/// When requests of this worker are due.
pub(super) enum Source {
    /// At times that are known before.
    Planned {
        times: Box<dyn Iterator<Item = Duration> + Send>,
        next: Option<Duration>,
    },
    /// When users have thought: each is due once, in order, and again after its answer.
    Users {
        due: VecDeque<Duration>,
        think: Duration,
        end: Duration,
    },
}

impl Source {
    pub(super) fn new(plan: &Plan, share: Share) -> Self {
        match &plan.arrival {
            Arrival::Open {
                profile,
                spacing,
                seed,
            } => {
                let mut times = Box::new(share_of(profile, *spacing, *seed, share));
                Self::Planned {
                    next: times.next(),
                    times,
                }
            }
            Arrival::Closed {
                users,
                think,
                length,
            } => Self::Users {
                due: vec![Duration::ZERO; share.part(*users)].into(),
                think: *think,
                end: *length,
            },
        }
    }

    /// When the next one is due.
    pub(super) fn peek(&self) -> Option<Duration> {
        match self {
            Self::Planned { next, .. } => *next,
            Self::Users { due, end, .. } => due.front().copied().filter(|due| due < end),
        }
    }

    pub(super) fn advance(&mut self) {
        match self {
            Self::Planned { times, next } => *next = times.next(),
            Self::Users { due, .. } => {
                due.pop_front();
            }
        }
    }

    /// A request has ended, well or not.
    pub(super) fn ended(&mut self, now: Duration) {
        if let Self::Users { due, think, .. } = self {
            // In order by itself: everybody thinks for the same time.
            due.push_back(now + *think);
        }
    }

    pub(super) fn stop(&mut self) {
        match self {
            Self::Planned { next, .. } => *next = None,
            // Those whose answer is still to come don't ask again either.
            Self::Users { due, end, .. } => {
                due.clear();
                *end = Duration::ZERO;
            }
        }
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
