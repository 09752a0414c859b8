//! The least that a server can be: one thread that answers whatever ends in an empty line, always the same.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    thread,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll,
    thread::{CpuSet, sched_setaffinity},
};

use super::ANSWER;

/// Answers there until this process ends, on this CPU only.
pub(super) fn start(cpu: usize) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        listener.as_fd(),
        epoll::EventData::new_u64(u64::MAX),
        epoll::EventFlags::IN,
    )?;
    thread::Builder::new()
        .name("minimal".to_owned())
        .spawn(move || -> io::Result<()> {
            let mut cpus = CpuSet::new();
            cpus.set(cpu);
            sched_setaffinity(None, &cpus)?;
            let mut streams: Vec<Option<TcpStream>> = Vec::new();
            let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
            let mut buffer = vec![0; 64 << 10];
            loop {
                match epoll::wait(&epoll, spare_capacity(&mut events), None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                for event in events.drain(..) {
                    let number = event.data.u64();
                    if number == u64::MAX {
                        while let Ok((stream, _)) = listener.accept() {
                            stream.set_nonblocking(true)?;
                            stream.set_nodelay(true)?;
                            let data = epoll::EventData::new_u64(streams.len() as u64);
                            epoll::add(&epoll, stream.as_fd(), data, epoll::EventFlags::IN)?;
                            streams.push(Some(stream));
                        }
                    } else if let Some(slot) = streams.get_mut(number as usize)
                        && let Some(stream) = slot
                        && !answer(stream, &mut buffer)
                    {
                        *slot = None;
                    }
                }
            }
        })?;
    Ok(address)
}

/// Whether the connection goes on.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    match stream.read(buffer) {
        Ok(0) => false,
        // Whatever came: no tool here has more than one request under way, and theirs are short.
        Ok(length) => !buffer[..length].ends_with(b"\r\n\r\n") || stream.write_all(ANSWER).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
