//! Listening sockets, and a clear word when one cannot be had.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::net::listen;

/// Connections that may wait to be accepted. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 1024;

/// Why a socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "{address} is already in use: stop the process that has it (`ss -ltnp 'sport = :{port}'` shows it), or listen \
         on another port",
        port = address.port()
    )]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A living process serves the Unix socket.
    #[error("{} is already served by another process: stop that one first", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is something at the path, and it is no socket.
    #[error("{} exists and is not a socket: remove it, or name another path", path.display())]
    NotASocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// The Unix socket cannot be made.
    #[error("cannot {step} the socket {}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// A socket to serve: TCP or Unix.
#[derive(Debug)]
pub enum Listener {
    /// From [`bind`].
    Tcp(std::net::TcpListener),
    /// From [`crate::admin::bind`].
    Unix(std::os::unix::net::UnixListener),
}

impl From<std::net::TcpListener> for Listener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<std::os::unix::net::UnixListener> for Listener {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Listens on a TCP address. Needs no runtime, so it can be done before anything else is started.
///
/// # Errors
/// [`BindError::AddressInUse`], or what else the system says.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::AddressInUse { address },
        _ => BindError::Address { address, source },
    };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    // The standard library's backlog is 128: a burst would meet refused handshakes before our own limit.
    listen(&listener, BACKLOG).map_err(|error| failed(error.into()))?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}
