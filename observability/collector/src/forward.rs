//! Forwarding to backends of the signal's own kind (Tempo, Loki, Pyroscope), where one is configured.
//!
//! Each signal has a queue and a task of its own. A backend that is slow or away costs what its queue cannot hold, counted, and
//! nothing else: the store never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::http::{Request, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::metrics::Metrics;
use crate::model::Signal;
use crate::server::stopped;

/// Bytes of requests that wait for one backend.
const QUEUE_BYTES: usize = 8 << 20;
/// Requests that wait for one backend.
const QUEUE_REQUESTS: usize = 1_024;
/// How often one request is sent at most.
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(10);

/// Where each signal goes.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// An OTLP/HTTP endpoint for spans, e.g. Tempo's `/v1/traces`.
    pub traces: Option<Uri>,
    /// An OTLP/HTTP endpoint for log records, e.g. Loki's `/otlp/v1/logs`.
    pub logs: Option<Uri>,
    /// A Pyroscope push endpoint.
    pub profiles: Option<Uri>,
}

#[derive(Debug)]
struct Parcel {
    items: usize,
    body: Bytes,
}

#[derive(Clone, Debug)]
struct Lane {
    sender: mpsc::Sender<Parcel>,
    bytes: Arc<AtomicUsize>,
}

/// The receivers' end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Forward {
    traces: Option<Lane>,
    logs: Option<Lane>,
    profiles: Option<Lane>,
    metrics: Metrics,
}

impl Forward {
    /// Starts a task for each target; they end some time after the stop.
    #[must_use]
    pub fn start(
        targets: Targets,
        metrics: &Metrics,
        shutdown: &watch::Receiver<bool>,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let mut tasks = Vec::new();
        let mut lane = |signal, target: Option<Uri>| {
            target.map(|target| {
                let (lane, task) = lane(signal, target, metrics.clone(), shutdown.clone());
                tasks.push(task);
                lane
            })
        };
        let forward = Self {
            traces: lane(Signal::Traces, targets.traces),
            logs: lane(Signal::Logs, targets.logs),
            profiles: lane(Signal::Profiles, targets.profiles),
            metrics: metrics.clone(),
        };
        (forward, tasks)
    }

    /// Queues a request in protobuf where its signal has a target.
    pub fn offer(&self, signal: Signal, items: usize, raw: impl FnOnce() -> Bytes) {
        let lane = match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Profiles => &self.profiles,
            Signal::Metrics => &None,
        };
        let Some(lane) = lane else { return };
        let body = raw();
        let bytes = body.len();
        let before = lane.bytes.fetch_add(bytes, Ordering::AcqRel);
        let fits = before == 0 || before + bytes <= QUEUE_BYTES;
        if !fits || lane.sender.try_send(Parcel { items, body }).is_err() {
            lane.bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.metrics.forward_dropped(signal, "queue_full", items);
        }
    }
}

fn lane(
    signal: Signal,
    target: Uri,
    metrics: Metrics,
    shutdown: watch::Receiver<bool>,
) -> (Lane, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(QUEUE_REQUESTS);
    let bytes = Arc::new(AtomicUsize::new(0));
    let sending = Sending {
        signal,
        target,
        metrics,
        client: Client::builder(TokioExecutor::new()).build_http(),
    };
    let task = tokio::spawn(sending.run(receiver, Arc::clone(&bytes), shutdown));
    (Lane { sender, bytes }, task)
}

struct Sending {
    signal: Signal,
    target: Uri,
    metrics: Metrics,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What one attempt came to.
enum Attempt {
    Taken,
    Again(String),
    Never(String),
}

impl Sending {
    async fn run(
        self,
        mut receiver: mpsc::Receiver<Parcel>,
        bytes: Arc<AtomicUsize>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let mut fails = false;
        loop {
            let parcel = tokio::select! {
                () = stopped(&mut shutdown) => break,
                parcel = receiver.recv() => match parcel {
                    Some(parcel) => parcel,
                    None => return,
                },
            };
            let sent = tokio::select! {
                // What is being sent when the stop comes is lost to the backend, not to the store.
                () = stopped(&mut shutdown) => Err(("stopped", String::new())),
                sent = self.send(&parcel) => sent,
            };
            bytes.fetch_sub(parcel.body.len(), Ordering::AcqRel);
            match sent {
                Ok(()) => {
                    if fails {
                        tracing::info!(signal = self.signal.label(), target = %self.target, "forwarding works again");
                    }
                    fails = false;
                    self.metrics.forwarded(self.signal, parcel.items);
                }
                Err((reason, why)) => {
                    if !fails && reason != "stopped" {
                        tracing::warn!(
                            signal = self.signal.label(), target = %self.target, reason, why,
                            "not forwarded; what is dropped is counted in observastack_collector_forward_dropped_items_total"
                        );
                        fails = true;
                    }
                    let metrics = &self.metrics;
                    metrics.forward_dropped(self.signal, reason, parcel.items);
                }
            }
        }
        receiver.close();
        while let Ok(parcel) = receiver.try_recv() {
            let metrics = &self.metrics;
            metrics.forward_dropped(self.signal, "stopped", parcel.items);
        }
    }

    async fn send(&self, parcel: &Parcel) -> Result<(), (&'static str, String)> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            match self.attempt(&parcel.body).await {
                Attempt::Taken => return Ok(()),
                Attempt::Never(why) => return Err(("refused", why)),
                Attempt::Again(why) if attempt >= ATTEMPTS => return Err(("unreachable", why)),
                Attempt::Again(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
        }
    }

    async fn attempt(&self, body: &Bytes) -> Attempt {
        let kind = match self.signal {
            Signal::Profiles => "application/proto",
            _ => "application/x-protobuf",
        };
        let request = Request::post(self.target.clone())
            .header(header::CONTENT_TYPE, kind)
            .body(Full::new(body.clone()));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Attempt::Never(error.to_string()),
        };
        match tokio::time::timeout(ANSWER, self.client.request(request)).await {
            Err(_) => Attempt::Again(format!("no answer within {} s", ANSWER.as_secs())),
            Ok(Err(error)) => Attempt::Again(error.to_string()),
            Ok(Ok(response)) => match response.status() {
                status if status.is_success() => Attempt::Taken,
                // OTLP's retryable answers.
                status if matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504) => {
                    Attempt::Again(status.to_string())
                }
                status => Attempt::Never(status.to_string()),
            },
        }
    }
}
