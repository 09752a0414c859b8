//! The accept loop: connections up to a limit, then the drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use observastack_telemetry::metrics::HttpMetrics;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{self, Shared};
use super::{Listener, Router};
use crate::lifecycle::stopped;

/// How often a server at its connection limit looks whether the limit was changed.
const LIMIT_RECHECK: Duration = Duration::from_millis(200);

/// How long to wait after a failure to accept that is not one client's: descriptors or memory ran out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a server allows its clients. Read anew for every connection, so a change reaches new connections at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections open at a time; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// Whether a connection may carry more than one request.
    pub keep_alive: bool,
    /// How long a connection may be idle between requests.
    pub keep_alive_timeout: Duration,
    /// How long the headers may take from their first byte (of a new connection: from its beginning).
    pub header_read_timeout: Duration,
    /// How long a body may take, from when the handler asks for it.
    pub body_read_timeout: Duration,
    /// How long requests in flight may take after the stop, before they are cut off.
    pub drain_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            keep_alive: true,
            keep_alive_timeout: Duration::from_secs(60),
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections still busy when the time was up, and cut off: 0 for a clean stop.
    pub cut_off: usize,
}

/// An HTTP/1.1 server on one socket.
pub struct Server {
    listener: Listener,
    options: Arc<dyn Fn() -> Options + Send + Sync>,
    config_version: Arc<dyn Fn() -> u64 + Send + Sync>,
    metrics: Option<HttpMetrics>,
}

impl Server {
    /// A server with the default options and no metrics.
    #[must_use]
    pub fn new(listener: impl Into<Listener>) -> Self {
        Self {
            listener: listener.into(),
            options: Arc::new(Options::default),
            config_version: Arc::new(|| 0),
            metrics: None,
        }
    }

    /// Where the options come from; asked once per connection.
    #[must_use]
    pub fn options(mut self, options: impl Fn() -> Options + Send + Sync + 'static) -> Self {
        self.options = Arc::new(options);
        self
    }

    /// Where the configuration's version comes from; asked once per request, for its metrics and logs.
    #[must_use]
    pub fn config_version(mut self, version: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.config_version = Arc::new(version);
        self
    }

    /// Counts every request.
    #[must_use]
    pub fn metrics(mut self, metrics: HttpMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Serves until `shutdown` turns true (or its sender is gone), then drains: the socket is closed at once, idle
    /// connections are closed, requests in flight finish within [`Options::drain_timeout`].
    ///
    /// # Errors
    /// The socket cannot be used in this runtime. Failures of single connections are logged, not returned.
    pub async fn serve<S: Send + Sync + 'static>(
        self,
        router: Router<S>,
        mut shutdown: watch::Receiver<bool>,
    ) -> io::Result<Drained> {
        let Self {
            listener,
            options,
            config_version,
            metrics,
        } = self;
        let listener = Accept::new(listener)?;
        let shared = Arc::new(Shared {
            table: router.into_table(),
            config_version,
            metrics,
        });
        let mut connections: JoinSet<()> = JoinSet::new();
        loop {
            while let Some(ended) = connections.try_join_next() {
                report(ended);
            }
            if connections.len() >= options().max_connections {
                tokio::select! {
                    () = stopped(&mut shutdown) => break,
                    Some(ended) = connections.join_next() => report(ended),
                    () = tokio::time::sleep(LIMIT_RECHECK) => {}
                }
                continue;
            }
            let accepted = tokio::select! {
                biased;
                () = stopped(&mut shutdown) => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (shared, options, shutdown) =
                        (Arc::clone(&shared), options(), shutdown.clone());
                    match stream {
                        Stream::Tcp(stream) => {
                            let io = connection::Tracked::new(stream);
                            connections
                                .spawn(connection::serve(io, peer, shared, options, shutdown));
                        }
                        Stream::Unix(stream) => {
                            let io = connection::Tracked::new(stream);
                            connections
                                .spawn(connection::serve(io, peer, shared, options, shutdown));
                        }
                    }
                }
                Err(error) if is_one_clients(&error) => {
                    tracing::debug!(%error, "a connection broke off")
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::select! {
                        () = stopped(&mut shutdown) => break,
                        () = tokio::time::sleep(ACCEPT_RETRY) => {}
                    }
                }
            }
        }
        drop(listener);
        Ok(drain(connections, options().drain_timeout).await)
    }
}

async fn drain(mut connections: JoinSet<()>, drain_timeout: Duration) -> Drained {
    let finished = tokio::time::timeout(drain_timeout, async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
    if finished.await.is_ok() {
        return Drained { cut_off: 0 };
    }
    let cut_off = connections.len();
    let drain_timeout_ms = u64::try_from(drain_timeout.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(
        cut_off,
        drain_timeout_ms,
        "requests in flight did not finish in time and are cut off"
    );
    connections.shutdown().await;
    Drained { cut_off }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request handler panicked: its connection is closed");
    }
}

fn is_one_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

enum Accept {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Accept {
    fn new(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener).map(Self::Tcp)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener).map(Self::Unix)
            }
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are written at once: waiting for more data would only add 40 ms to them.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }
}
