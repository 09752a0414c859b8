//! A client that sees every byte, for tests of what a server does with its connections.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How long anything that should happen at once may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client<I> {
    io: I,
    buffer: Vec<u8>,
    /// The next answer is to a HEAD request: its length is that of a body that does not come.
    head: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Client<TcpStream> {
    pub(crate) async fn tcp(address: std::net::SocketAddr) -> io::Result<Self> {
        Ok(Self {
            io: TcpStream::connect(address).await?,
            buffer: Vec::new(),
            head: false,
        })
    }
}

impl Client<UnixStream> {
    pub(crate) async fn unix(path: &Path) -> io::Result<Self> {
        Ok(Self {
            io: UnixStream::connect(path).await?,
            buffer: Vec::new(),
            head: false,
        })
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Client<I> {
    pub(crate) async fn write(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        self.read().await.unwrap()
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let length = body.len();
        self.head = method == "HEAD";
        self.write(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        self.read().await.unwrap()
    }

    /// Sends a request to a server that may be gone.
    pub(crate) async fn try_exchange(&mut self, request: &str) -> io::Result<Answer> {
        self.io.write_all(request.as_bytes()).await?;
        self.read().await
    }

    /// The next answer; `UnexpectedEof` when the server closed the connection instead.
    pub(crate) async fn read(&mut self) -> io::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer())
            .await
            .expect("an answer in time")
    }

    /// Waits until the server closes the connection; `true` if it sent nothing before.
    pub(crate) async fn closed(&mut self) -> bool {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = tokio::time::timeout(PATIENCE, self.io.read_to_end(&mut rest))
            .await
            .expect("the end in time");
        rest.is_empty() && self.buffer.is_empty()
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let head_length = loop {
            if let Some(at) = self
                .buffer
                .windows(4)
                .position(|bytes| bytes == b"\r\n\r\n")
            {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..head_length).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length: usize = headers
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let length = if std::mem::take(&mut self.head) {
            0
        } else {
            length
        };
        while self.buffer.len() < length {
            self.more().await?;
        }
        let body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.io.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
