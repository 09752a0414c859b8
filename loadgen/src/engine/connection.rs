//! One connection: what is on its way over it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt},
};

use super::session::Session;
use crate::{
    http::{Kept, Parser, Progress},
    stats::ErrorKind,
};

/// A request on its way.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// Whose.
    pub(super) session: Session,
    /// When it was given to a connection, since the beginning of the run.
    pub(super) sent: Duration,
}

/// What a connection came to after something happened on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something else has to happen.
    Wait,
    /// The answer is whole.
    Answer { status: u16, keep_alive: bool },
    /// It is of no use any more.
    Failed(ErrorKind),
    /// The other side has closed it while nothing was under way.
    Closed,
}

/// A request's bytes.
#[derive(Debug)]
enum Bytes {
    Shared(Arc<[u8]>),
    /// In the connection's own buffer.
    Own,
}

/// A connection, with at most one request on its way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    is_connected: bool,
    request: Bytes,
    /// For requests that are not always the same.
    own: Vec<u8>,
    /// How much of the request is sent.
    written: usize,
    /// How much of it may be, as yet.
    allowed: usize,
    parser: Parser,
    pub(super) in_flight: Option<InFlight>,
    /// The request's number among the worker's: a time limit belongs to one of them.
    pub(super) number: u64,
    /// How many requests it has had.
    pub(super) uses: u64,
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            stream: socket.into(),
            is_connected: false,
            request: Bytes::Own,
            own: Vec::new(),
            written: 0,
            allowed: usize::MAX,
            parser: Parser::new(false, false),
            in_flight: None,
            number: 0,
            uses: 0,
        })
    }

    /// The next request is this one, always the same.
    pub(super) fn share(&mut self, bytes: &Arc<[u8]>) {
        self.request = Bytes::Shared(Arc::clone(bytes));
    }

    /// The next request is what is put there.
    pub(super) fn own(&mut self) -> &mut Vec<u8> {
        self.request = Bytes::Own;
        &mut self.own
    }

    /// Sends the request that it was given, so many bytes for now; it may not be connected yet.
    pub(super) fn send(
        &mut self,
        parser: Parser,
        number: u64,
        in_flight: InFlight,
        allowed: usize,
    ) -> Step {
        self.in_flight = Some(in_flight);
        self.number = number;
        self.uses += 1;
        self.written = 0;
        self.allowed = allowed;
        self.parser = parser;
        if self.is_connected {
            self.write()
        } else {
            Step::Wait
        }
    }

    /// Sends more of it; whether there is more than that.
    pub(super) fn allow(&mut self, more: usize) -> (Step, bool) {
        self.allowed = self.allowed.saturating_add(more);
        let length = match &self.request {
            Bytes::Shared(bytes) => bytes.len(),
            Bytes::Own => self.own.len(),
        };
        let step = if self.is_connected {
            self.write()
        } else {
            Step::Wait
        };
        (step, self.allowed < length)
    }

    fn write(&mut self) -> Step {
        let bytes = match &self.request {
            Bytes::Shared(bytes) => bytes,
            Bytes::Own => self.own.as_slice(),
        };
        let allowed = self.allowed.min(bytes.len());
        while let Some(rest) = bytes.get(self.written..allowed)
            && !rest.is_empty()
        {
            match (&self.stream).write(rest) {
                Ok(0) => return Step::Failed(ErrorKind::Closed),
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Step::Failed(ErrorKind::Closed),
            }
        }
        Step::Wait
    }

    /// It can be written, or is connected, or could not be.
    pub(super) fn writable(&mut self) -> Step {
        if !self.is_connected {
            match self.stream.take_error() {
                Ok(None) => self.is_connected = true,
                _ => return Step::Failed(ErrorKind::Connect),
            }
        }
        if self.in_flight.is_some() {
            self.write()
        } else {
            Step::Wait
        }
    }

    /// There is something to be read; `is_ending` where the other side has sent its last.
    pub(super) fn readable(&mut self, buffer: &mut [u8], is_ending: bool) -> Step {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) if !self.is_connected => return Step::Failed(ErrorKind::Connect),
                Err(_) => return self.ended(),
            };
            let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
                return self.ended();
            };
            if self.in_flight.is_none() {
                // An answer to nothing.
                return Step::Failed(ErrorKind::Protocol);
            }
            match self.parser.feed(bytes) {
                Ok(Progress::Done { status, keep_alive }) => {
                    return Step::Answer { status, keep_alive };
                }
                // A short read has taken all there was (epoll(7)); the end is told once, and has to be met.
                Ok(Progress::More) if length < buffer.len() && !is_ending => return Step::Wait,
                Ok(Progress::More) => {}
                Err(_) => return Step::Failed(ErrorKind::Protocol),
            }
        }
    }

    fn ended(&mut self) -> Step {
        if self.in_flight.is_none() {
            return Step::Closed;
        }
        match self.parser.closed() {
            Progress::Done { status, keep_alive } => Step::Answer { status, keep_alive },
            Progress::More => Step::Failed(ErrorKind::Closed),
        }
    }

    /// Whether nothing of an answer has come: a kept connection that the other side closed just then.
    pub(super) fn is_untouched(&self) -> bool {
        !self.parser.has_begun()
    }

    /// Whether all of the request is sent: an answer that comes before leaves the connection of no use.
    pub(super) fn is_sent(&self) -> bool {
        let length = match &self.request {
            Bytes::Shared(bytes) => bytes.len(),
            Bytes::Own => self.own.len(),
        };
        self.written >= length
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.parser.body_bytes()
    }

    pub(super) fn take_kept(&mut self) -> Option<Kept> {
        self.parser.take_kept()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
