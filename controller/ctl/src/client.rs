//! HTTP over a Unix socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use observastack_spec::api::{ErrorBody, ErrorCode};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::failure::Failure;

/// How long a whole answer may take; a service under a fault still has its socket.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A service's socket, with what to tell the user when nobody listens there.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    hint: String,
    timeout: Duration,
}

impl Client {
    /// The injector's socket.
    pub(crate) fn injector(socket: &Path) -> Self {
        let hint = "is the injector running? systemctl status observastack-injector".to_owned();
        Self {
            socket: socket.to_owned(),
            hint,
            timeout: TIMEOUT,
        }
    }

    /// A service's admin socket.
    pub(crate) fn admin(socket: PathBuf, unit: &str) -> Self {
        Self {
            socket,
            hint: format!("is the service running? systemctl status {unit}"),
            timeout: TIMEOUT,
        }
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

    /// Asks the injector; its refusals are failures.
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
            let refusal = serde_json::from_slice(&answer).unwrap_or_else(|_| ErrorBody {
                error: format!("the injector answered {status}"),
                code: ErrorCode::Internal,
                fields: Vec::new(),
            });
            return Err(Failure::Injector(refusal));
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
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.refused(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.transport(error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", content_type)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.transport(error))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| self.transport(error))
    }

    fn refused(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::Forbidden(self.socket.clone()),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::NotListening {
                socket: self.socket.clone(),
                hint: self.hint.clone(),
            },
            _ => self.transport(error),
        }
    }

    fn transport(&self, reason: impl ToString) -> Failure {
        Failure::Transport {
            socket: self.socket.clone(),
            reason: reason.to_string(),
        }
    }
}
