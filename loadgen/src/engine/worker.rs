//! A worker: one thread, one epoll instance, one loop.
//!
//! In turn: send what is due, wait for what happens on connections until the next is due, give up what took too long.

use std::{
    collections::VecDeque,
    io,
    num::NonZeroU64,
    os::fd::OwnedFd,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};

use super::{
    Plan, Shared,
    connection::{Connection, InFlight, Step},
    source::{Share, Source},
};
use crate::stats::{ErrorKind, Stats};

/// How often others see what was measured.
const PUBLISH: Duration = Duration::from_millis(100);
/// Events that are taken at once.
const EVENTS: usize = 256;
/// What is read at once.
const BUFFER: usize = 64 << 10;
/// A wait without anything to wait for: others may have stopped the run.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// After a connection that could not even be begun, there is a pause: it would fail again at once.
const PAUSE: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Worker {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    number: usize,
    begun: Instant,
    epoll: OwnedFd,
    source: Source,
    connections: Vec<Option<Connection>>,
    /// Connected and without a request, the last used at the end.
    idle: Vec<usize>,
    /// Places without a connection.
    free: Vec<usize>,
    /// Due, and no connection is free.
    backlog: VecDeque<Duration>,
    longest_backlog: usize,
    /// When requests will have taken too long: the connection's place and the request's number. In order, since the limit is the same
    /// for all.
    limits: VecDeque<(Duration, usize, u64)>,
    /// Requests that were given to connections.
    number_of_requests: u64,
    in_flight: usize,
    stats: Stats,
    published: Duration,
    is_stopping: bool,
}

impl Worker {
    pub(super) fn new(
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        share: Share,
        begun: Instant,
    ) -> io::Result<Self> {
        let places = share.part(plan.connections).max(1);
        Ok(Self {
            source: Source::new(&plan, share),
            number: share.number,
            begun,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: (0..places).map(|_| None).collect(),
            idle: Vec::with_capacity(places),
            free: (0..places).rev().collect(),
            backlog: VecDeque::new(),
            longest_backlog: share.part(plan.backlog),
            limits: VecDeque::new(),
            number_of_requests: 0,
            in_flight: 0,
            stats: Stats::default(),
            published: Duration::ZERO,
            is_stopping: false,
            plan,
            shared,
        })
    }

    /// Until everything that was due has ended.
    pub(super) fn run(mut self) -> io::Result<()> {
        // Otherwise the kernel may wake this thread 50 µs late, to save wake-ups (prctl(2), PR_SET_TIMERSLACK).
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; BUFFER];
        loop {
            self.dispatch();
            let now = self.begun.elapsed();
            if now.saturating_sub(self.published) >= PUBLISH {
                self.publish(now);
            }
            if self.source.peek().is_none() && self.in_flight == 0 && self.backlog.is_empty() {
                self.publish(now);
                // Users are gone only when the run is over.
                return Ok(());
            }
            self.wait(&mut events, now)?;
            for event in events.drain(..) {
                let place = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.happened(place, event.flags, &mut buffer);
            }
            self.give_up();
        }
    }

    /// Sends what is due.
    fn dispatch(&mut self) {
        if !self.is_stopping && self.shared.is_stopped.load(Ordering::Relaxed) {
            self.is_stopping = true;
            self.source.stop();
            self.stats.due -= self.backlog.len() as u64;
            self.backlog.clear();
        }
        while let Some(due) = self.source.peek() {
            let now = self.begun.elapsed();
            if due > now {
                return;
            }
            self.source.advance();
            self.stats.due += 1;
            self.stats.schedule.record(now - due);
            if self.idle.is_empty() && self.free.is_empty() {
                if self.backlog.len() < self.longest_backlog {
                    self.backlog.push_back(due);
                } else {
                    self.stats.error(ErrorKind::Dropped);
                    self.source.ended(now);
                }
            } else {
                self.start(due, now);
            }
        }
    }

    /// Gives a request to a connection; there is one, or a place for one.
    fn start(&mut self, due: Duration, now: Duration) {
        let in_flight = InFlight { due, sent: now };
        self.in_flight += 1;
        self.stats.sent += 1;
        let place = match self.idle.pop() {
            Some(place) => place,
            None => match self.open() {
                Ok(place) => place,
                Err(_) => {
                    self.failed(None, ErrorKind::Connect, now);
                    return;
                }
            },
        };
        self.send(place, in_flight);
    }

    fn send(&mut self, place: usize, in_flight: InFlight) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        self.number_of_requests += 1;
        let number = self.number_of_requests;
        let step = connection.send(&self.plan.request, number, in_flight);
        self.limits
            .push_back((in_flight.sent + self.plan.timeout, place, number));
        self.after(place, step);
    }

    /// A new connection in a free place.
    fn open(&mut self) -> io::Result<usize> {
        let place = self
            .free
            .pop()
            .ok_or_else(|| io::Error::other("no place"))?;
        let opened = Connection::open(self.plan.address, &self.plan.request).and_then(|made| {
            // Edges only: writing is rarely waited for, and an interest that never changes costs no call.
            let interest = epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET;
            epoll::add(
                &self.epoll,
                &made,
                epoll::EventData::new_u64(place as u64),
                interest,
            )?;
            Ok(made)
        });
        match opened {
            Ok(connection) => {
                self.stats.connections += 1;
                if let Some(slot) = self.connections.get_mut(place) {
                    *slot = Some(connection);
                }
                Ok(place)
            }
            Err(error) => {
                self.free.push(place);
                Err(error)
            }
        }
    }

    fn happened(&mut self, place: usize, flags: epoll::EventFlags, buffer: &mut [u8]) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let mut step = Step::Wait;
        if flags
            .intersects(epoll::EventFlags::OUT | epoll::EventFlags::ERR | epoll::EventFlags::HUP)
        {
            step = connection.writable(&self.plan.request);
        }
        let can_be_read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::HUP;
        if step == Step::Wait && flags.intersects(can_be_read) {
            let is_ending = flags.intersects(epoll::EventFlags::RDHUP | epoll::EventFlags::HUP);
            step = connection.readable(buffer, is_ending);
        }
        self.after(place, step);
    }

    fn after(&mut self, place: usize, step: Step) {
        match step {
            Step::Wait => {}
            Step::Answer { status, keep_alive } => self.answered(place, status, keep_alive),
            Step::Closed => {
                self.idle.retain(|idle| *idle != place);
                self.close(place);
            }
            Step::Failed(kind) => {
                let now = self.begun.elapsed();
                let Some(Some(connection)) = self.connections.get(place) else {
                    return;
                };
                // The other side may close a kept connection just when it is used again: no answer was begun, so it is asked again.
                let again = connection.in_flight.filter(|_| {
                    kind == ErrorKind::Closed && connection.uses > 1 && connection.is_untouched()
                });
                if connection.in_flight.is_none() {
                    self.idle.retain(|idle| *idle != place);
                    self.close(place);
                } else if let Some(in_flight) = again {
                    self.close(place);
                    match self.open() {
                        Ok(place) => self.send(place, in_flight),
                        Err(_) => self.failed(None, ErrorKind::Connect, now),
                    }
                } else {
                    self.failed(Some(place), kind, now);
                }
            }
        }
    }

    fn answered(&mut self, place: usize, status: u16, keep_alive: bool) {
        let now = self.begun.elapsed();
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let Some(in_flight) = connection.in_flight.take() else {
            return;
        };
        self.in_flight -= 1;
        self.stats.body_bytes += connection.body_bytes();
        *self.stats.statuses.entry(status).or_default() += 1;
        self.stats.response.record(now - in_flight.due);
        self.stats.service.record(now - in_flight.sent);
        if !self.plan.accepts(status) {
            self.stats.error(ErrorKind::Status);
        }
        self.source.ended(now);
        if keep_alive && self.plan.keep_alive {
            self.idle.push(place);
        } else {
            self.close(place);
        }
        self.next(now);
    }

    /// A request has no answer.
    fn failed(&mut self, place: Option<usize>, kind: ErrorKind, now: Duration) {
        self.in_flight -= 1;
        self.stats.error(kind);
        if let Some(place) = place {
            self.close(place);
        }
        // Whoever asks a target that is not there would ask as fast as the CPU can. Users behind this one may have to wait as long.
        let pause = if kind == ErrorKind::Connect {
            PAUSE
        } else {
            Duration::ZERO
        };
        self.source.ended(now + pause);
        self.next(now);
    }

    /// There is a connection, or a place: somebody may have waited for it.
    fn next(&mut self, now: Duration) {
        if let Some(due) = self.backlog.pop_front() {
            self.start(due, now);
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(slot) = self.connections.get_mut(place)
            && slot.take().is_some()
        {
            self.free.push(place);
        }
    }

    /// Ends what took too long, on a connection or in the line for one.
    fn give_up(&mut self) {
        let now = self.begun.elapsed();
        while let Some(due) = self.backlog.front().copied()
            && due + self.plan.timeout <= now
        {
            self.backlog.pop_front();
            self.stats.error(ErrorKind::Timeout);
            self.source.ended(now);
        }
        while let Some((limit, place, number)) = self.limits.front().copied() {
            let is_current = self
                .connections
                .get(place)
                .and_then(Option::as_ref)
                .is_some_and(|connection| {
                    connection.number == number && connection.in_flight.is_some()
                });
            if is_current && limit > now {
                return;
            }
            self.limits.pop_front();
            if is_current {
                self.failed(Some(place), ErrorKind::Timeout, now);
            }
        }
    }

    /// Waits for an event, or until something is due.
    fn wait(&self, events: &mut Vec<epoll::Event>, now: Duration) -> io::Result<()> {
        let next = [self.source.peek(), self.limits.front().map(|limit| limit.0)];
        let next = next.into_iter().flatten().min();
        let wait = next
            .map_or(LONGEST_WAIT, |next| next.saturating_sub(now))
            .min(LONGEST_WAIT);
        // With nanoseconds (epoll_pwait2, Linux 5.11): a millisecond would be late.
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn publish(&mut self, now: Duration) {
        self.published = now;
        if let Some(shared) = self.shared.stats.get(self.number) {
            shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&self.stats);
        }
    }
}
