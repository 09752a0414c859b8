//! What becomes of requests, and what follows from it: the next one, the same again, or a journey's end.

use std::{sync::Arc, time::Duration};

use super::{PAUSE, Worker, is_current};
use crate::{
    engine::{
        connection::InFlight,
        session::{Later, Session},
        timers::{Timer, What},
    },
    stats::{ErrorKind, SlowTrace},
};

impl Worker {
    /// What was on its way over a connection.
    pub(super) fn take(&mut self, place: usize) -> Option<InFlight> {
        self.connections.get_mut(place)?.as_mut()?.in_flight.take()
    }

    pub(super) fn answered(&mut self, place: usize, status: u16, keep_alive: bool) {
        let now = self.begun.elapsed();
        let Some(InFlight { mut session, sent }) = self.take(place) else {
            return;
        };
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let plan = Arc::clone(&self.plan);
        let workload = &plan.workload;
        let Some(step) = session.step(workload) else {
            return;
        };
        let endpoint = session.endpoint(workload);
        self.in_flight -= 1;
        self.stats.body_bytes += connection.body_bytes();
        let response = now - session.due;
        self.stats.answer(endpoint, status, response, now - sent);
        if let Some(trace) = session.trace {
            self.stats.traced(SlowTrace {
                response,
                trace_id: trace.0,
                endpoint,
            });
        }
        let failure = if !step.accepts(status) {
            Some(ErrorKind::Status)
        } else if connection
            .take_kept()
            .is_some_and(|answer| !step.look(&answer, &mut session.values))
        {
            Some(ErrorKind::Check)
        } else {
            None
        };
        if keep_alive && step.keep_alive && connection.is_sent() {
            self.idle.push(place);
        } else {
            self.close(place);
        }
        match failure {
            None => {
                if self.is_stopping || !session.go_on(workload, now) {
                    self.over(&session, true, now);
                } else {
                    self.later.push(Later(session));
                }
            }
            Some(kind) => {
                self.stats.error(endpoint, kind);
                let may_repeat = kind == ErrorKind::Status && step.retry.statuses.contains(&status);
                self.repeat_or_end(session, may_repeat, now);
            }
        }
        self.next(now);
    }

    /// A request on a connection has no answer.
    pub(super) fn failed(&mut self, place: usize, kind: ErrorKind, now: Duration) {
        let in_flight = self.take(place);
        self.close(place);
        if let Some(in_flight) = in_flight {
            self.failed_session(in_flight.session, kind, now);
        }
    }

    /// A request that was sent has no answer.
    pub(super) fn failed_session(&mut self, session: Session, kind: ErrorKind, now: Duration) {
        self.in_flight -= 1;
        self.stats
            .error(session.endpoint(&self.plan.workload), kind);
        // Whoever asks a target that is not there would ask as fast as the CPU can. Users behind this one may have to wait as long.
        let pause = if kind == ErrorKind::Connect {
            PAUSE
        } else {
            Duration::ZERO
        };
        self.repeat_or_end(session, true, now + pause);
        self.next(now);
    }

    /// A request has failed: it is sent again, or the journey ends.
    fn repeat_or_end(&mut self, mut session: Session, may_repeat: bool, now: Duration) {
        if may_repeat && !self.is_stopping && session.repeat(&self.plan.workload, now) {
            self.later.push(Later(session));
        } else {
            self.over(&session, false, now);
        }
    }

    /// A journey has ended.
    pub(super) fn over(&mut self, session: &Session, is_completed: bool, now: Duration) {
        if let Some(journey) = self.stats.journeys.get_mut(session.journey()) {
            if is_completed {
                journey.completed += 1;
                journey.times.record(now - session.begun);
            } else {
                journey.failed += 1;
            }
        }
        self.source.ended(now);
    }

    /// There is a connection, or a place: somebody may have waited for it.
    fn next(&mut self, now: Duration) {
        if let Some(session) = self.backlog.pop_front() {
            self.start(session, now);
        }
    }

    /// Ends what took too long, on a connection or in the line for one; and does what has its time.
    pub(super) fn give_up(&mut self) {
        let now = self.begun.elapsed();
        while let Some(session) = self.backlog.front()
            && session
                .step(&self.plan.workload)
                .is_some_and(|step| session.due + step.timeout <= now)
        {
            if let Some(session) = self.backlog.pop_front() {
                let endpoint = session.endpoint(&self.plan.workload);
                self.stats.error(endpoint, ErrorKind::Timeout);
                self.repeat_or_end(session, true, now);
            }
        }
        while let Some(timer) = self.timers.pop(now) {
            self.ring(timer, now);
        }
        let connections = &self.connections;
        let is_current = |place: usize, number| is_current(connections, place, number);
        let late = self.limits.pop(now, is_current);
        for place in late {
            self.failed(place, ErrorKind::Timeout, now);
        }
    }

    fn ring(&mut self, timer: Timer, now: Duration) {
        if !is_current(&self.connections, timer.place, timer.number) {
            return;
        }
        match timer.what {
            What::Write(slowly) => {
                let Some(Some(connection)) = self.connections.get_mut(timer.place) else {
                    return;
                };
                let (step, has_more) = connection.allow(slowly.bytes);
                if has_more {
                    self.timers.push(Timer {
                        at: now + slowly.every,
                        ..timer
                    });
                }
                self.after(timer.place, step);
            }
            What::Abandon => {
                let in_flight = self.take(timer.place);
                self.close(timer.place);
                if let Some(in_flight) = in_flight {
                    self.in_flight -= 1;
                    self.stats.abandoned += 1;
                    self.over(&in_flight.session, true, now);
                    self.next(now);
                }
            }
        }
    }
}
