//! A TCP proxy in user space, as little of one as there can be: what it costs is the least that any of them costs.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::Result;
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};

/// What the proxy's first line begins with; its address follows.
pub(crate) const PROXY_READY: &str = "listening ";

/// Connections at a time, each with a thread that is there before it.
const CONNECTIONS: usize = 4;

/// Passes connections on.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
}

impl Proxy {
    /// Passes connections on, until the input ends.
    pub(crate) fn run(self) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{PROXY_READY}{}", listener.local_addr()?);
        for _ in 0..CONNECTIONS {
            let listener = listener.try_clone()?;
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    // Broken by one of its ends, which is how most of them end here.
                    let _ = pass(&client, self.to);
                }
            });
        }
        io::copy(&mut io::stdin(), &mut io::sink())?;
        Ok(())
    }
}

/// Copies both ways until one end closes, which closes the other.
fn pass(client: &TcpStream, to: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut buffer = [0; 16 * 1024];
    loop {
        let mut ends = [client, &server].map(|end| PollFd::new(end, PollFlags::IN));
        poll(&mut ends, None)?;
        let is_ready = ends.map(|end| !end.revents().is_empty());
        for (is_ready, mut from, mut to) in [
            (is_ready[0], client, &server),
            (is_ready[1], &server, client),
        ] {
            if !is_ready {
                continue;
            }
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                length => to.write_all(&buffer[..length])?,
            }
        }
    }
}
