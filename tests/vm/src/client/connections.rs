//! A client's servers, connections and addresses.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use observastack_loader::clock::monotonic_ns;
use socket2::{Domain, Socket, Type};

use crate::{
    agent::Protocol,
    traffic::{MESSAGE_LEN, message, on_one_cpu},
};

/// A server that sends back every message, a thread for each connection.
pub(super) fn tcp_echo(address: SocketAddr) -> Result<String> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let echo = move || echo(stream);
            if thread::Builder::new()
                .stack_size(128 << 10)
                .spawn(echo)
                .is_err()
            {
                return;
            }
        }
    });
    Ok(address.to_string())
}

/// Ends with the connection; what went wrong is seen at the other end.
fn echo(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut message = [0; MESSAGE_LEN];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
}

/// A socket that listens and accepts nothing.
pub(super) fn listen(address: SocketAddr, backlog: i32) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// One `connect(2)` on a new socket: 0 or the errno.
pub(super) fn connect(protocol: Protocol, address: SocketAddr) -> Result<i32> {
    let result = match protocol {
        Protocol::Tcp => TcpStream::connect(address).map(drop),
        Protocol::Udp => {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => "0.0.0.0:0".parse()?,
                SocketAddr::V6(_) => "[::]:0".parse()?,
            };
            UdpSocket::bind(any)?.connect(address)
        }
    };
    match result {
        Ok(()) => Ok(0),
        Err(error) => error.raw_os_error().context("an error without errno"),
    }
}

/// Connects again and again until it works: `failures last_failure_started_ns success_ended_ns`.
pub(super) fn connect_until_ok(
    protocol: Protocol,
    address: SocketAddr,
    limit: Duration,
) -> Result<String> {
    let end = Instant::now() + limit;
    let mut failures = 0u64;
    let mut last_failure_started_ns = 0;
    loop {
        let started_ns = monotonic_ns();
        let errno = connect(protocol, address)?;
        if errno == 0 {
            let ended_ns = monotonic_ns();
            return Ok(format!("{failures} {last_failure_started_ns} {ended_ns}"));
        }
        failures += 1;
        last_failure_started_ns = started_ns;
        if Instant::now() > end {
            bail!("connect still fails with errno {errno} after {failures} attempts");
        }
    }
}

/// One `bind(2)` on a new socket: 0 or the errno.
pub(super) fn bind(protocol: Protocol, address: SocketAddr) -> Result<i32> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    match socket.bind(&address.into()) {
        Ok(()) => Ok(0),
        Err(error) => error.raw_os_error().context("an error without errno"),
    }
}

/// A server that sends every datagram back to where it came from.
pub(super) fn udp_echo(address: SocketAddr) -> Result<String> {
    let socket = UdpSocket::bind(address)?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            // What went wrong is seen at the other end.
            let _ = socket.send_to(&datagram[..length], from);
        }
    });
    Ok(address.to_string())
}

/// Sends datagrams of so many bytes with these numbers from a new socket. Not one of these sends may fail.
pub(super) fn udp_send(
    from: IpAddr,
    to: SocketAddr,
    numbers: std::ops::Range<u64>,
    length: usize,
) -> Result<()> {
    let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
    let mut datagram = vec![0; length.max(MESSAGE_LEN)];
    on_one_cpu(|| {
        for n in numbers {
            datagram[..MESSAGE_LEN].copy_from_slice(&message(n, 0));
            socket
                .send_to(&datagram, to)
                .with_context(|| format!("datagram {n} is refused locally"))?;
        }
        Ok(())
    })
}
