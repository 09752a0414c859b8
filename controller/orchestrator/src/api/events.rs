//! What happens, as server-sent events (HTML Living Standard, section 9.2): each has its number as its id, so whoever comes again goes on after it.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use observastack_spec::drill::log::Entry;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::engine::Engine;

/// A comment that shows both ends that the other is there.
const STILL_HERE: Duration = Duration::from_secs(15);
/// Pieces between here and the connection; a reader that is slower is waited for, and nothing is lost.
const PIECES: usize = 8;

/// Streams what happened after an event, and what happens from now on, until the reader goes.
pub(super) fn stream(engine: Engine, after: u64) -> Response {
    let (pieces, stream) = mpsc::channel(PIECES);
    tokio::spawn(send(engine, after, pieces));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(ReceiverStream::new(stream))).into_response()
}

async fn send(engine: Engine, mut after: u64, pieces: mpsc::Sender<Result<Bytes, Infallible>>) {
    let mut moved = engine.moved();
    loop {
        moved.borrow_and_update();
        let Ok(Ok(entries)) = engine.entries(after).await else {
            return;
        };
        // What is not public has a number all the same.
        after = entries.last().map_or(after, |entry| entry.number);
        let text: String = entries.iter().map(event).collect();
        if !text.is_empty() && pieces.send(Ok(text.into())).await.is_err() {
            return;
        }
        let sent = tokio::select! {
            changed = moved.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = pieces.closed() => return,
            () = tokio::time::sleep(STILL_HERE) => pieces.send(Ok(Bytes::from_static(b": still here\n\n"))).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn event(entry: &Entry) -> String {
    // A line of text and numbers always has a JSON form.
    let data = serde_json::to_string(entry).unwrap_or_default();
    format!("id: {}\nevent: entry\ndata: {data}\n\n", entry.number)
}
