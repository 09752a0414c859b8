//! Live tail: log records as they are committed, as server-sent events.
//!
//! `event: log` with a record; `event: missed` with `{"batches":N}` where the reader was too slow for N commits, whether their records would
//! have been shown or not.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::answer::of_kind;
use crate::model::LogRow;
use crate::server::stopped;
use crate::store::read::{LogLine, LogSearch};

/// A comment that shows both ends that the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events between here and the connection; then the broadcast's own queue fills.
const EVENTS: usize = 64;

type Event = Result<Bytes, Infallible>;

/// Streams what the search takes until the reader goes or the collector stops.
pub(super) fn stream(
    records: Receiver<std::sync::Arc<[LogRow]>>,
    search: LogSearch,
    permit: OwnedSemaphorePermit,
    shutdown: watch::Receiver<bool>,
) -> Response {
    let (events, stream) = mpsc::channel(EVENTS);
    tokio::spawn(async move {
        send(records, &search, events, shutdown).await;
        drop(permit);
    });
    of_kind(
        "text/event-stream",
        Body::from_stream(ReceiverStream::new(stream)),
    )
}

async fn send(
    mut records: Receiver<std::sync::Arc<[LogRow]>>,
    search: &LogSearch,
    events: mpsc::Sender<Event>,
    mut shutdown: watch::Receiver<bool>,
) {
    // Tells the reader that it is listening: what comes from now on is shown.
    let mut next = Bytes::from_static(b": listening\n\n");
    loop {
        let sent = tokio::select! {
            () = stopped(&mut shutdown) => return,
            sent = events.send(Ok(next)) => sent,
        };
        if sent.is_err() {
            return;
        }
        next = loop {
            let received = tokio::select! {
                () = stopped(&mut shutdown) => return,
                () = events.closed() => return,
                () = tokio::time::sleep(KEEP_ALIVE) => break Bytes::from_static(b": still here\n\n"),
                received = records.recv() => received,
            };
            match received {
                Ok(rows) => {
                    let text: String = rows
                        .iter()
                        .filter(|row| search.takes(row))
                        .map(log)
                        .collect();
                    if !text.is_empty() {
                        break text.into();
                    }
                }
                Err(RecvError::Lagged(batches)) => break missed(batches),
                Err(RecvError::Closed) => return,
            }
        };
    }
}

fn log(row: &LogRow) -> String {
    // A line of text and numbers always has a JSON form.
    let line = serde_json::to_string(&LogLine::from(row)).unwrap_or_default();
    format!("event: log\ndata: {line}\n\n")
}

fn missed(batches: u64) -> Bytes {
    format!("event: missed\ndata: {}\n\n", json!({ "batches": batches })).into()
}
