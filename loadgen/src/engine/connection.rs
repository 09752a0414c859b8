//! One connection: what is on its way over it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt},
};

use crate::{
    http::{Parser, Progress, Template},
    stats::ErrorKind,
};

/// A request on its way, with its times since the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    /// When it was due.
    pub(super) due: Duration,
    /// When it was given to a connection.
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

/// A connection, with at most one request on its way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    is_connected: bool,
    /// How much of the request is sent.
    written: usize,
    parser: Parser,
    pub(super) in_flight: Option<InFlight>,
    /// The request's number among the worker's: a time limit belongs to one of them.
    pub(super) number: u64,
    /// How many requests it has had.
    pub(super) uses: u64,
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(address: SocketAddr, request: &Template) -> io::Result<Self> {
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
            written: 0,
            parser: request.parser(),
            in_flight: None,
            number: 0,
            uses: 0,
        })
    }

    /// Gives it a request; it may not be connected yet.
    pub(super) fn send(&mut self, request: &Template, number: u64, in_flight: InFlight) -> Step {
        self.in_flight = Some(in_flight);
        self.number = number;
        self.uses += 1;
        self.written = 0;
        self.parser = request.parser();
        if self.is_connected {
            self.write(request)
        } else {
            Step::Wait
        }
    }

    fn write(&mut self, request: &Template) -> Step {
        while let Some(rest) = request.bytes().get(self.written..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
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
    pub(super) fn writable(&mut self, request: &Template) -> Step {
        if !self.is_connected {
            match self.stream.take_error() {
                Ok(None) => self.is_connected = true,
                _ => return Step::Failed(ErrorKind::Connect),
            }
        }
        if self.in_flight.is_some() {
            self.write(request)
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

    pub(super) fn body_bytes(&self) -> u64 {
        self.parser.body_bytes()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
