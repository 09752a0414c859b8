//! TCP streams in which every byte is known by its place.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::net::{Shutdown, shutdown};
use socket2::{Domain, Socket, Type};

/// A prime, so that no power of two shifts the stream onto itself.
const PERIOD: u64 = 251;

/// Bytes of one read or write.
const CHUNK: usize = 64 << 10;

/// The byte at a place.
fn byte_at(place: u64) -> u8 {
    (place % PERIOD) as u8
}

/// Connects; with an `mss` that isn't 0, both ends send segments of at most so many bytes, TCP's options among them.
pub(crate) fn connect(address: SocketAddr, mss: u32) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if mss != 0 {
        socket.set_tcp_mss(mss)?;
    }
    socket
        .connect(&address.into())
        .with_context(|| format!("cannot connect to {address}"))?;
    Ok(socket.into())
}

/// Writes the bytes from one place to another.
pub(crate) fn write(stream: &mut TcpStream, from: u64, to: u64) -> Result<()> {
    let mut place = from;
    while place < to {
        let length = (to - place).min(CHUNK as u64);
        let chunk: Vec<u8> = (place..place + length).map(byte_at).collect();
        stream
            .write_all(&chunk)
            .with_context(|| format!("a write at {place} is refused"))?;
        place += length;
    }
    Ok(())
}

/// Sends so many bytes; how long it took until the peer had read them all.
pub(crate) fn send_all(mut stream: TcpStream, bytes: u64) -> Result<Duration> {
    let started = Instant::now();
    write(&mut stream, 0, bytes)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let more = stream.read(&mut [0])?;
    ensure!(more == 0, "the peer sends something");
    Ok(started.elapsed())
}

/// What has arrived, on all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    /// Bytes that belong elsewhere.
    pub(crate) wrong: u64,
    /// Connections that their sender has ended.
    pub(crate) ended: u64,
}

#[derive(Default)]
struct Account {
    bytes: AtomicU64,
    wrong: AtomicU64,
    ended: AtomicU64,
}

/// A server that reads streams, and closes each when its sender does.
pub(crate) struct Receiver {
    listener: TcpListener,
    account: Arc<Account>,
    pub(crate) address: SocketAddr,
}

impl Receiver {
    pub(crate) fn start(ip: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(ip, 0))?;
        let address = listener.local_addr()?;
        let account = Arc::new(Account::default());
        let (accepting, of_all) = (listener.try_clone()?, Arc::clone(&account));
        thread::spawn(move || {
            // Ends with the listener. Those that read end with their senders.
            while let Ok((stream, _)) = accepting.accept() {
                let account = Arc::clone(&of_all);
                thread::spawn(move || read(stream, &account));
            }
        });
        Ok(Self {
            listener,
            account,
            address,
        })
    }

    pub(crate) fn so_far(&self) -> Received {
        Received {
            bytes: self.account.bytes.load(Ordering::Acquire),
            wrong: self.account.wrong.load(Ordering::Acquire),
            ended: self.account.ended.load(Ordering::Acquire),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Wakes `accept`, which then fails.
        let _ = shutdown(&self.listener, Shutdown::Both);
    }
}

fn read(mut stream: TcpStream, account: &Account) {
    let mut chunk = vec![0; CHUNK];
    let mut place = 0;
    while let Ok(length) = stream.read(&mut chunk) {
        if length == 0 {
            account.ended.fetch_add(1, Ordering::Release);
            return;
        }
        let read = chunk[..length].iter();
        let wrong = (place..)
            .zip(read)
            .filter(|(place, byte)| **byte != byte_at(*place));
        account
            .wrong
            .fetch_add(wrong.count() as u64, Ordering::Release);
        account.bytes.fetch_add(length as u64, Ordering::Release);
        place += length as u64;
    }
}
