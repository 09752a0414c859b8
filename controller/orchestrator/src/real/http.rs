//! One request to a socket or a port of this machine.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::failed;
use crate::lab::LabError;

/// How long a whole answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest answer.
const LARGEST: usize = 8 << 20;

/// Where something listens.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A Unix socket.
    Socket(PathBuf),
    /// A port.
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

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// Its JSON; an answer that is no success is an error with the words that it has.
    pub(super) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, LabError> {
        self.ok(what)?;
        serde_json::from_slice(&self.body)
            .map_err(|error| failed(what, format!("cannot read the answer: {error}")))
    }

    /// Whether it is a success.
    pub(super) fn ok(&self, what: &str) -> Result<(), LabError> {
        if self.status.is_success() {
            return Ok(());
        }
        let words = serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|body| body["error"].as_str().map(str::to_owned));
        Err(failed(
            what,
            words.unwrap_or_else(|| format!("answered {}", self.status)),
        ))
    }
}

/// Asks, and reads the whole answer.
pub(super) async fn ask(
    place: &Place,
    method: Method,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Answer, LabError> {
    let what = format!("{method} {path} of {place}");
    let answer = async {
        match place {
            Place::Socket(socket) => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.map_err(|error| failed(&what, error))?;
                exchange(stream, method, path, content_type, body, &what).await
            }
            Place::Port(address) => {
                let stream = TcpStream::connect(address).await;
                let stream = stream.map_err(|error| failed(&what, error))?;
                exchange(stream, method, path, content_type, body, &what).await
            }
        }
    };
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(failed(
            &what,
            format!("no answer within {} s", TIMEOUT.as_secs()),
        )),
    }
}

/// Asks without a body.
pub(super) async fn get(place: &Place, path: &str) -> Result<Answer, LabError> {
    ask(place, Method::GET, path, "application/json", Vec::new()).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
    what: &str,
) -> Result<Answer, LabError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(what, error))?;
    // It ends with the answer, or with the sender.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| failed(what, error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| failed(what, error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| failed(what, error))?
        .to_bytes();
    Ok(Answer { status, body })
}
