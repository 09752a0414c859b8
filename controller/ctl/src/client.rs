//! HTTP over a Unix socket, or to a port of this machine.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use observastack_spec::api::{ErrorBody, ErrorCode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::failure::Failure;

/// How long a whole answer may take; a service under a fault still has its socket.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where a service listens.
#[derive(Clone, Debug)]
enum Place {
    Socket(PathBuf),
    Port(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Port(address) => address.fmt(f),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A body, line by line as it comes.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    pending: Vec<u8>,
}

impl Lines {
    /// Of a body.
    pub(crate) fn of(body: Incoming) -> Self {
        Self {
            body,
            pending: Vec::new(),
        }
    }

    /// The next whole line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                return Some(self.pending.drain(..=end).collect());
            }
            let frame = self.body.frame().await?.ok()?;
            self.pending
                .extend_from_slice(frame.data_ref().map_or(&[], |data| data.as_ref()));
        }
    }
}

/// A service's socket or port, with what to tell the user when nobody listens there.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    place: Place,
    hint: String,
    timeout: Duration,
    /// Who asks.
    token: Option<String>,
}

impl Client {
    /// The injector's socket.
    pub(crate) fn injector(socket: &Path) -> Self {
        let hint = "is the injector running? systemctl status observastack-injector".to_owned();
        Self {
            place: Place::Socket(socket.to_owned()),
            hint,
            timeout: TIMEOUT,
            token: None,
        }
    }

    /// The observer's socket.
    pub(crate) fn observer(socket: &Path) -> Self {
        Self {
            place: Place::Socket(socket.to_owned()),
            hint: "is the observer running? systemctl status observastack-observer".to_owned(),
            timeout: TIMEOUT,
            token: None,
        }
    }

    /// A service's admin socket.
    pub(crate) fn admin(socket: PathBuf, unit: &str) -> Self {
        Self {
            place: Place::Socket(socket),
            hint: format!("is the service running? systemctl status {unit}"),
            timeout: TIMEOUT,
            token: None,
        }
    }

    /// What a unit answers on a port.
    pub(crate) fn port(address: SocketAddr, unit: &str) -> Self {
        Self {
            place: Place::Port(address),
            hint: format!("is it running? systemctl status {unit}"),
            timeout: TIMEOUT,
            token: None,
        }
    }

    /// Says who asks.
    pub(crate) fn with_token(mut self, token: String) -> Self {
        self.token = Some(token);
        self
    }

    /// Waits this long for a whole answer.
    pub(crate) fn patient_for(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let answer = async {
            let response = self.open(method, path, content_type, body).await?;
            let status = response.status();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|error| self.transport(error))?;
            Ok((status, body.to_bytes()))
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.transport(format!("no answer within {} s", self.timeout.as_secs()))),
        }
    }

    /// Asks the injector or the observer; its refusals are failures.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| self.transport(error))?,
            None => Vec::new(),
        };
        let (status, answer) = self.send(method, path, "application/json", body).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &answer));
        }
        serde_json::from_slice(&answer)
            .map_err(|error| self.transport(format!("cannot read the answer: {error}")))
    }

    /// Sends a request and gives the answer while its body still arrives.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Failure> {
        let stream: Box<dyn Stream> = match &self.place {
            Place::Socket(path) => Box::new(
                UnixStream::connect(path)
                    .await
                    .map_err(|error| self.refused(&error))?,
            ),
            Place::Port(address) => Box::new(
                TcpStream::connect(address)
                    .await
                    .map_err(|error| self.refused(&error))?,
            ),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.transport(error))?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", content_type);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.transport(error))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.transport(error))
    }

    /// Asks the observer for a stream of lines; its refusals are failures.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        let response = self
            .open(Method::GET, path, "application/json", Vec::new())
            .await?;
        let status = response.status();
        let body = response.into_body();
        if !status.is_success() {
            let answer = body
                .collect()
                .await
                .map_err(|error| self.transport(error))?;
            return Err(self.refusal(status, &answer.to_bytes()));
        }
        Ok(Lines::of(body))
    }

    /// What an answer that is no success says.
    fn refusal(&self, status: StatusCode, answer: &[u8]) -> Failure {
        Failure::Injector(
            serde_json::from_slice(answer).unwrap_or_else(|_| ErrorBody {
                error: format!("{} answered {status}", self.place),
                code: ErrorCode::Internal,
                fields: Vec::new(),
            }),
        )
    }

    fn refused(&self, error: &io::Error) -> Failure {
        match (error.kind(), &self.place) {
            (io::ErrorKind::PermissionDenied, Place::Socket(path)) => {
                Failure::Forbidden(path.clone())
            }
            (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, place) => {
                Failure::NotListening {
                    place: place.to_string(),
                    hint: self.hint.clone(),
                }
            }
            _ => self.transport(error),
        }
    }

    pub(crate) fn transport(&self, reason: impl ToString) -> Failure {
        Failure::Transport {
            place: self.place.to_string(),
            reason: reason.to_string(),
        }
    }
}
