//! An HTTP client with one connection for each request, unless told to keep one.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};

/// An answer with its whole body.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The status and, for an error of the gateway, its kind.
    pub fn kind(&self) -> (u16, String) {
        let kind = serde_json::from_slice::<Value>(&self.body).ok();
        let kind = kind.and_then(|body| Some(body.get("kind")?.as_str()?.to_owned()));
        (self.status.as_u16(), kind.unwrap_or_default())
    }

    /// Which upstream answered.
    pub fn served_by(&self) -> String {
        self.header("x-served-by").to_owned()
    }
}

/// A connection that is kept.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub async fn open(address: SocketAddr) -> hyper::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .expect("the gateway accepts connections");
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        self.0.ready().await?;
        collect(self.0.send_request(request).await?).await
    }

    pub async fn get(&mut self, path: &str) -> hyper::Result<Answer> {
        self.send(request(Method::GET, path, "")).await
    }
}

/// A request with a `host` and a body.
pub fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "shop")
        .body(Full::new(body.into()))
        .unwrap()
}

/// Sends a request on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
    Connection::open(address).await?.send(request).await
}

/// GET on a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, request(Method::GET, path, ""))
        .await
        .unwrap_or_else(|error| panic!("GET {path}: {error:?}"))
}

/// Sends a request to a Unix socket.
pub async fn send_unix(path: &std::path::Path, request: Request<Full<Bytes>>) -> Answer {
    let stream = UnixStream::connect(path)
        .await
        .expect("the admin socket accepts connections");
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    collect(sender.send_request(request).await.unwrap())
        .await
        .unwrap()
}

async fn collect(answer: hyper::Response<hyper::body::Incoming>) -> hyper::Result<Answer> {
    let (head, body) = answer.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}
