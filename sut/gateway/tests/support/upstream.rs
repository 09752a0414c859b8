//! An upstream that can be told to misbehave, and that counts.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinHandle,
    time::Interval,
};

/// What an upstream does with requests other than health checks.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// 200.
    Answer,
    /// This status.
    Status(u16),
    /// Nothing, until [`Upstream::release`].
    Hang,
    /// Breaks the connection.
    Reset,
    /// A head, then a byte each so often, for ever.
    Trickle(Duration),
}

pub struct Upstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    name: String,
    behaviour: Mutex<Behaviour>,
    healthy: AtomicBool,
    requests: AtomicUsize,
    connections: AtomicUsize,
    waiting: AtomicUsize,
    release: Notify,
    /// The heads of the last request to each path.
    heads: Mutex<HashMap<String, HeaderMap>>,
    alive: watch::Sender<bool>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Upstream {
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts at an address where an upstream was killed.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: address.to_string(),
            behaviour: Mutex::new(Behaviour::Answer),
            healthy: AtomicBool::new(true),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            release: Notify::new(),
            heads: Mutex::default(),
            alive: watch::Sender::new(true),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    pub fn name(&self) -> &str {
        &self.shared.name
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }

    /// Requests other than health checks.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Connections that carried a request other than a health check.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests that hang.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::SeqCst)
    }

    /// Lets every request go that hangs.
    pub fn release(&self) {
        self.shared.release.notify_waiters();
    }

    /// The head of the last request to a path.
    pub fn head(&self, path: &str) -> HeaderMap {
        self.shared
            .heads
            .lock()
            .unwrap()
            .get(path)
            .cloned()
            .unwrap_or_default()
    }

    /// Ends it as a crash would: the port refuses connections and the open ones are gone.
    pub async fn kill(self) -> SocketAddr {
        self.accepting.abort();
        let _ = self.accepting.await;
        self.shared.alive.send_replace(false);
        self.address
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut alive = shared.alive.subscribe();
            let used = Arc::new(AtomicBool::new(false));
            let service =
                service_fn(|request| serve(Arc::clone(&shared), Arc::clone(&used), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // Also ends with an error of the service, which is how it breaks the connection.
                _ = connection => {}
                _ = alive.wait_for(|alive| !alive) => {}
            }
        });
    }
}

async fn serve(
    shared: Arc<Shared>,
    used: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Body>, &'static str> {
    let path = request.uri().path().to_owned();
    if path == "/healthz" {
        let status = if shared.healthy.load(Ordering::SeqCst) {
            200
        } else {
            503
        };
        return Ok(answer(&shared, status, full("")));
    }
    shared.requests.fetch_add(1, Ordering::SeqCst);
    if !used.swap(true, Ordering::SeqCst) {
        shared.connections.fetch_add(1, Ordering::SeqCst);
    }
    let (head, body) = request.into_parts();
    shared.heads.lock().unwrap().insert(path, head.headers);
    let behaviour = shared.behaviour.lock().unwrap().clone();
    if let Behaviour::Reset = behaviour {
        return Err("told to break the connection");
    }
    let body = body
        .collect()
        .await
        .map_err(|_| "the request broke off")?
        .to_bytes();
    match behaviour {
        Behaviour::Answer | Behaviour::Reset => Ok(answer(&shared, 200, full(body))),
        Behaviour::Status(status) => Ok(answer(&shared, status, full("{\"from\":\"upstream\"}"))),
        Behaviour::Hang => {
            let released = shared.release.notified();
            shared.waiting.fetch_add(1, Ordering::SeqCst);
            released.await;
            shared.waiting.fetch_sub(1, Ordering::SeqCst);
            Ok(answer(&shared, 200, full("late")))
        }
        Behaviour::Trickle(pause) => Ok(answer(
            &shared,
            200,
            Trickle(tokio::time::interval(pause)).boxed(),
        )),
    }
}

fn answer(shared: &Shared, status: u16, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("x-served-by", &shared.name)
        .body(body)
        .unwrap()
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed()
}

/// A byte at each tick, for ever.
struct Trickle(Interval);

impl HttpBody for Trickle {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        ready!(self.0.poll_tick(context));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
    }
}
