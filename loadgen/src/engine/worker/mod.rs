//! A worker: one thread, one epoll instance, one loop.
//!
//! In turn: send what is due, wait for what happens on connections until the next is due, give up what took too long ([`outcome`]).

mod outcome;

use std::{
    collections::{BinaryHeap, VecDeque},
    io,
    num::NonZeroU64,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};

use super::{
    BACKLOG, Plan, Shared,
    connection::{Connection, InFlight, Step},
    session::{Later, Session},
    source::{Share, Source},
    timers::{Limits, Timer, Timers, What},
};
use crate::stats::{ErrorKind, Stats};

/// How often others see what was measured.
const PUBLISH: Duration = Duration::from_millis(100);
/// Events that are taken at once.
const EVENTS: usize = 256;
/// What is read at once.
const BUFFER: usize = 64 << 10;
/// A wait without anything to wait for: others may want something else.
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// What is due sooner than this is not slept for: to be woken takes as long, more so where a hypervisor has to do it.
const NO_SLEEP: Duration = Duration::from_micros(50);
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
    backlog: VecDeque<Session>,
    longest_backlog: usize,
    /// Between two requests.
    later: BinaryHeap<Later>,
    limits: Limits,
    timers: Timers,
    /// Requests that were given to connections.
    number_of_requests: u64,
    in_flight: usize,
    stats: Box<Stats>,
    published: Duration,
    is_stopping: bool,
    commands: u64,
}

impl Worker {
    pub(super) fn new(
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        share: Share,
        begun: Instant,
    ) -> io::Result<Self> {
        let places = share.part(plan.connections).max(1);
        let (endpoints, journeys) = (plan.workload.endpoints(), plan.workload.journeys.len());
        Ok(Self {
            source: Source::new(&plan, share),
            number: share.number,
            begun,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: (0..places).map(|_| None).collect(),
            idle: Vec::with_capacity(places),
            free: (0..places).rev().collect(),
            backlog: VecDeque::new(),
            longest_backlog: share.part(BACKLOG),
            later: BinaryHeap::new(),
            limits: Limits::default(),
            timers: Timers::default(),
            number_of_requests: 0,
            in_flight: 0,
            stats: Box::new(Stats::new(endpoints, journeys)),
            published: Duration::ZERO,
            is_stopping: false,
            commands: 0,
            plan,
            shared,
        })
    }

    /// Until everything that was due has ended.
    pub(super) fn run(mut self) -> io::Result<Box<Stats>> {
        // Otherwise the kernel may wake this thread 50 µs late, to save wake-ups (prctl(2), PR_SET_TIMERSLACK).
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; BUFFER];
        loop {
            self.dispatch();
            let now = self.begun.elapsed();
            if now.saturating_sub(self.published) >= PUBLISH {
                self.published = now;
                self.shared.hand_over(self.number, &mut self.stats);
            }
            // Users are gone only when the run is over.
            if self.in_flight == 0
                && self.backlog.is_empty()
                && self.later.is_empty()
                && self.source.is_over(now)
            {
                return Ok(self.stats);
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
        if let Some(command) = self.shared.news(&mut self.commands) {
            self.source.obey(command, self.begun.elapsed());
        }
        if !self.is_stopping && self.shared.is_stopped() {
            self.is_stopping = true;
            self.source.stop();
            self.later.clear();
            for session in self.backlog.drain(..) {
                self.stats.is_not_due(session.endpoint(&self.plan.workload));
            }
        }
        while let Some(Later(session)) = self.later.peek() {
            let now = self.begun.elapsed();
            if session.due > now {
                break;
            }
            if let Some(Later(session)) = self.later.pop() {
                self.due(session, now);
            }
        }
        while let Some(due) = self.source.peek() {
            let now = self.begun.elapsed();
            if due > now {
                return;
            }
            let arrival = self.source.advance();
            let session = Session::begin(&self.plan.workload, arrival, due);
            if let Some(journey) = self.stats.journeys.get_mut(session.journey()) {
                journey.begun += 1;
            }
            self.due(session, now);
        }
    }

    /// A session's request is due.
    fn due(&mut self, session: Session, now: Duration) {
        let endpoint = session.endpoint(&self.plan.workload);
        self.stats.is_due(endpoint);
        self.stats.schedule.record(now - session.due);
        if !self.idle.is_empty() || !self.free.is_empty() {
            self.start(session, now);
        } else if self.backlog.len() < self.longest_backlog {
            self.backlog.push_back(session);
        } else {
            self.stats.error(endpoint, ErrorKind::Dropped);
            self.over(&session, false, now);
        }
    }

    /// Gives a session's request to a connection; there is one, or a place for one.
    fn start(&mut self, session: Session, now: Duration) {
        self.in_flight += 1;
        self.stats.sent += 1;
        if session.repetitions > 0 {
            self.stats.retries += 1;
        }
        let is_fresh = session
            .step(&self.plan.workload)
            .is_some_and(|step| !step.keep_alive);
        if is_fresh
            && self.free.is_empty()
            && let Some(idle) = self.idle.pop()
        {
            self.close(idle);
        }
        let kept = if is_fresh { None } else { self.idle.pop() };
        let place = match kept.map_or_else(|| self.open(), Ok) {
            Ok(place) => place,
            Err(_) => {
                self.failed_session(session, ErrorKind::Connect, now);
                return;
            }
        };
        self.send(place, InFlight { session, sent: now });
    }

    fn send(&mut self, place: usize, in_flight: InFlight) {
        let Some(Some(connection)) = self.connections.get_mut(place) else {
            return;
        };
        let Some(step) = in_flight.session.step(&self.plan.workload) else {
            return;
        };
        self.number_of_requests += 1;
        let number = self.number_of_requests;
        let trace = in_flight
            .session
            .trace
            .filter(|_| step.template.takes_headers());
        match (trace, step.template.fixed()) {
            (None, Some(bytes)) => connection.share(bytes),
            _ => {
                let header = trace.map(|trace| trace.traceparent(number));
                let header = header.as_deref().map(|value| ("traceparent", value));
                let values = &in_flight.session.values;
                step.template.fill(values, header, connection.own());
            }
        }
        let sent = in_flight.sent;
        self.limits.push(step.timeout, sent, place, number);
        let mut timer = |at, what| {
            self.timers.push(Timer {
                at,
                place,
                number,
                what,
            });
        };
        if let Some(slowly) = step.slowly {
            timer(sent + slowly.every, What::Write(slowly));
        }
        if let Some(abandon) = step.abandon {
            timer(sent + abandon, What::Abandon);
        }
        let allowed = step.slowly.map_or(usize::MAX, |slowly| slowly.bytes);
        let step = connection.send(step.parser(), number, in_flight, allowed);
        self.after(place, step);
    }

    /// A new connection in a free place.
    fn open(&mut self) -> io::Result<usize> {
        let place = self
            .free
            .pop()
            .ok_or_else(|| io::Error::other("no place"))?;
        let opened = Connection::open(self.plan.address).and_then(|made| {
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
            step = connection.writable();
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
                let is_again = kind == ErrorKind::Closed
                    && connection.uses > 1
                    && connection.is_untouched()
                    && connection.in_flight.is_some();
                if connection.in_flight.is_none() {
                    self.idle.retain(|idle| *idle != place);
                    self.close(place);
                } else if is_again {
                    let in_flight = self.take(place);
                    self.close(place);
                    match (in_flight, self.open()) {
                        (Some(in_flight), Ok(place)) => self.send(place, in_flight),
                        (Some(in_flight), Err(_)) => {
                            self.failed_session(in_flight.session, ErrorKind::Connect, now);
                        }
                        (None, _) => {}
                    }
                } else {
                    self.failed(place, kind, now);
                }
            }
        }
    }

    fn close(&mut self, place: usize) {
        if let Some(slot) = self.connections.get_mut(place)
            && slot.take().is_some()
        {
            self.free.push(place);
        }
    }

    /// Waits for an event, or until something is due.
    fn wait(&self, events: &mut Vec<epoll::Event>, now: Duration) -> io::Result<()> {
        let next = [
            self.source.peek(),
            self.later.peek().map(|later| later.0.due),
            self.limits.first(),
            self.timers.first(),
        ];
        let next = next.into_iter().flatten().min();
        let wait = next
            .map_or(LONGEST_WAIT, |next| next.saturating_sub(now))
            .min(LONGEST_WAIT);
        let wait = if wait < NO_SLEEP {
            Duration::ZERO
        } else {
            wait
        };
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
}

/// Whether that request is still on its way there.
fn is_current(connections: &[Option<Connection>], place: usize, number: u64) -> bool {
    connections
        .get(place)
        .and_then(Option::as_ref)
        .is_some_and(|connection| connection.number == number && connection.in_flight.is_some())
}
