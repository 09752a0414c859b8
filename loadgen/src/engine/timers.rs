//! What happens to a request at a time: it has taken too long, more of it is written, its client goes away.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use crate::workload::Slowly;

/// When requests will have taken too long. The limits of one length come in order by themselves, and there are few lengths.
#[derive(Debug, Default)]
pub(super) struct Limits(Vec<(Duration, VecDeque<Limit>)>);

/// When, the connection's place, and the request's number.
type Limit = (Duration, usize, u64);

impl Limits {
    pub(super) fn push(&mut self, length: Duration, sent: Duration, place: usize, number: u64) {
        let limit = (sent + length, place, number);
        match self.0.iter_mut().find(|(of, _)| *of == length) {
            Some((_, limits)) => limits.push_back(limit),
            None => self.0.push((length, [limit].into())),
        }
    }

    /// The earliest; the request may have ended.
    pub(super) fn first(&self) -> Option<Duration> {
        let firsts = self.0.iter().filter_map(|(_, limits)| limits.front());
        firsts.map(|limit| limit.0).min()
    }

    /// The places of those that are over, and forgets those whose request has ended.
    pub(super) fn pop(
        &mut self,
        now: Duration,
        is_current: impl Fn(usize, u64) -> bool,
    ) -> Vec<usize> {
        let mut late = Vec::new();
        for (_, limits) in &mut self.0 {
            while let Some((limit, place, number)) = limits.front().copied() {
                let is_current = is_current(place, number);
                if is_current && limit > now {
                    break;
                }
                limits.pop_front();
                if is_current {
                    late.push(place);
                }
            }
        }
        late
    }
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// More of the request is written.
    Write(Slowly),
    /// Its client goes away.
    Abandon,
}

/// Something that happens to a request at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    pub(super) at: Duration,
    pub(super) place: usize,
    pub(super) number: u64,
    pub(super) what: What,
}

/// The timers; few requests have any.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BinaryHeap<Reverse<(Duration, usize)>>,
    timers: Vec<Option<Timer>>,
    free: Vec<usize>,
}

impl Timers {
    pub(super) fn push(&mut self, timer: Timer) {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.timers.push(None);
                self.timers.len() - 1
            }
        };
        if let Some(slot) = self.timers.get_mut(place) {
            *slot = Some(timer);
        }
        self.due.push(Reverse((timer.at, place)));
    }

    pub(super) fn first(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// One whose time has come.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Timer> {
        if self.first()? > now {
            return None;
        }
        let Reverse((_, place)) = self.due.pop()?;
        self.free.push(place);
        self.timers.get_mut(place)?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_different_lengths_are_over_in_their_own_order() {
        let ms = Duration::from_millis;
        let mut limits = Limits::default();
        limits.push(ms(1_000), ms(0), 1, 1);
        limits.push(ms(100), ms(50), 2, 2);
        limits.push(ms(100), ms(60), 3, 3);
        assert_eq!(limits.first(), Some(ms(150)));
        assert_eq!(limits.pop(ms(155), |_, _| true), [2]);
        // The third has ended.
        assert_eq!(limits.pop(ms(500), |place, _| place != 3), [0_usize; 0]);
        assert_eq!(limits.pop(ms(1_000), |_, _| true), [1]);
        assert_eq!(limits.first(), None);
    }

    #[test]
    fn timers_ring_in_order() {
        let timer = |ms, place| Timer {
            at: Duration::from_millis(ms),
            place,
            number: 0,
            what: What::Abandon,
        };
        let mut timers = Timers::default();
        [(30, 3), (10, 1), (20, 2)]
            .into_iter()
            .for_each(|(ms, place)| timers.push(timer(ms, place)));
        let now = Duration::from_millis(25);
        let rung: Vec<_> = std::iter::from_fn(|| timers.pop(now))
            .map(|timer| timer.place)
            .collect();
        assert_eq!(rung, [1, 2]);
        assert_eq!(timers.first(), Some(Duration::from_millis(30)));
    }
}
